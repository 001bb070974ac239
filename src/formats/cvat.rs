//! What CVAT keeps of an object beside its mask: in its COCO files as keys of annotations, in its XML as attributes of
//! elements. The store has them in `ground_truth.attributes`, as in the COCO files.

use serde_json::{Map, Value};

/// File of the annotations, in a directory of "CVAT for images".
pub const FILE: &str = "annotations.xml";
/// Folder of the photos beside it.
pub const IMAGES: &str = "images";
/// Key of the attributes that people gave an object.
pub const ATTRIBUTES: &str = "attributes";
/// The attribute of objects that others hide in part.
pub const OCCLUDED: &str = "occluded";
/// Key of the layer.
pub const Z_ORDER: &str = "z_order";
/// Key of the number that parts of one object share.
pub const GROUP_ID: &str = "group_id";
/// Key of who drew it: manual, auto, semi-auto, file.
pub const SOURCE: &str = "source";
/// The attribute of boxes that are turned, in degrees, in COCO files.
pub const ROTATION: &str = "rotation";

/// Whether an annotation of a COCO file was written by CVAT: it says of every one whether others hide it.
pub fn is_of_cvat(extra: &Map<String, Value>) -> bool {
    let attributes = extra.get(ATTRIBUTES).and_then(Value::as_object);
    attributes.is_some_and(|attributes| attributes.contains_key(OCCLUDED))
}
