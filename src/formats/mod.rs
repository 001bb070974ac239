//! What files of annotation tools have in common for those that read and those that write them.

pub mod brush;
pub mod cvat;
pub mod label_studio;

/// By which a class is multiplied in label maps of objects, as in Cityscapes' `instanceIds`.
pub const OBJECTS_PER_CLASS: u32 = 1000;
