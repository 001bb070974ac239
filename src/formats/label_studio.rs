//! Names in the JSON files of Label Studio.

/// File of the tasks, in a directory that is written.
pub const FILE: &str = "tasks.json";
/// File of the labelling interface beside it.
pub const CONFIG: &str = "config.xml";
/// Name of the tag of the image, and key of its address in a task.
pub const IMAGE: &str = "image";
/// Name of the tag of brush masks.
pub const BRUSH: &str = "brush";
/// Name of the tag of polygons.
pub const POLYGON: &str = "polygon";
/// Name of the tag of boxes.
pub const BOX: &str = "box";
/// Name of the tag of labels of whole images.
pub const CHOICES: &str = "labels";
/// Begin of the address of a file that Label Studio reads from a folder of its own machine.
pub const LOCAL_FILES: &str = "/data/local-files/?d=";
