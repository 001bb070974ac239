//! What files of annotation tools have in common for those that read and those that write them.

pub mod brush;
pub mod cvat;
pub mod label_studio;
