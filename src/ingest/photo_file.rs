//! Reads a photo, from a directory or a bucket, and builds its row of `images`.

use std::fs::{File, FileType};
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use chrono::Utc;
use serde_json::{Map, Value};

use super::options::IngestOptions;
use crate::coco;
use crate::error::FileAction;
use crate::error::PhotoError;
use crate::ids::ImageId;
use crate::photo::{self, DecodeLimits, PhotoInfo};
use crate::store::rows::{FailureRow, ImageRow};
use crate::store::{Location, PhotoFiles, Store, check_size};
use crate::{Error, Result};

/// Limit on a file's size. Several files are in memory at once.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// The directory, or the prefix of a bucket, that images are below, as stored in rows.
#[derive(Debug, Clone)]
pub(super) struct Root {
    path: PathBuf,
    name: String,
    /// Reads what is in a bucket.
    bucket: Option<PhotoFiles>,
}

impl Root {
    /// A directory of this machine, or a bucket, which is read with the store's credentials.
    pub fn open(store: &Store, path: &Path) -> Result<Self> {
        match path.to_str() {
            Some(uri) if Location::is_bucket(uri) => Self::of_bucket(store, uri),
            _ => Self::new(path),
        }
    }

    fn of_bucket(store: &Store, uri: &str) -> Result<Self> {
        let Location::Bucket(name) = Location::parse(uri)? else {
            return Self::new(Path::new(uri));
        };
        Ok(Self {
            path: PathBuf::from(&name),
            name,
            bucket: Some(store.photos()),
        })
    }

    /// Checks the directory and makes its path absolute, with links resolved.
    pub fn new(path: &Path) -> Result<Self> {
        let listed = std::fs::read_dir(path);
        listed.map_err(Error::file(FileAction::List, path))?;
        let path = path
            .canonicalize()
            .map_err(Error::file(FileAction::Resolve, path))?;
        let name = path
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Content {
                path: path.clone(),
                place: String::new(),
                reason: "the path must be valid UTF-8".to_owned(),
            })?;
        Ok(Self {
            path,
            name,
            bucket: None,
        })
    }

    /// What reads it, if it is in a bucket.
    pub fn bucket(&self) -> Option<&PhotoFiles> {
        self.bucket.as_ref()
    }

    /// Reads a file of at most 4 GiB below the root. It blocks.
    pub fn read(&self, file_name: &str) -> Result<Vec<u8>> {
        let path = self.join(file_name)?;
        match &self.bucket {
            Some(files) => files.read(&self.name, file_name, MAX_FILE_BYTES),
            None => read_file(&path),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as stored in rows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a file relative to this directory, with `/` as separator.
    pub fn file_name(&self, path: &Path) -> Result<String> {
        let relative = path.strip_prefix(&self.path).unwrap_or(path);
        let mut name = String::new();
        for part in relative.components() {
            if !name.is_empty() {
                name.push('/');
            }
            let part = part.as_os_str().to_str().ok_or_else(|| Error::Content {
                path: path.to_owned(),
                place: String::new(),
                reason: "the file name is not valid UTF-8; rename the file".to_owned(),
            })?;
            name.push_str(part);
        }
        Ok(name)
    }

    /// The path of a file that a data set names.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for names that lead out of the directory.
    pub fn join(&self, file_name: &str) -> Result<PathBuf> {
        let relative = Path::new(file_name);
        // A Windows drive leads out of the directory, too.
        let has_drive = matches!(file_name.as_bytes(), [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
        let stays = !has_drive
            && relative
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if stays && !file_name.is_empty() {
            return Ok(self.path.join(relative));
        }
        Err(Error::InvalidOption {
            what: "file name",
            value: file_name.to_owned(),
            expected: "a path below the image directory, none that leads out of it".to_owned(),
        })
    }
}

/// Refuses a bucket where only a folder on a disk can be read.
///
/// # Errors
/// [`Error::Location`].
pub(super) fn check_on_disk(format: &str, path: &Path) -> Result<()> {
    match path.to_str() {
        Some(uri) if Location::is_bucket(uri) => Err(Error::Location {
            uri: uri.to_owned(),
            reason: format!("a {format} folder is read from a disk; copy it here first"),
        }),
        _ => Ok(()),
    }
}

/// Opens a file of annotations that is read bit by bit. `expected` is what it should be.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] for an archive.
pub(super) fn open_annotations(path: &Path, expected: &str) -> Result<BufReader<File>> {
    let read = || Error::file(FileAction::Read, path);
    let mut file = BufReader::new(File::open(path).map_err(read())?);
    let start = file.fill_buf().map_err(read())?;
    match coco::archive(start) {
        None => Ok(file),
        Some(kind) => Err(Error::Content {
            path: path.to_owned(),
            place: String::new(),
            reason: format!("it is {kind}; unpack it, and give {expected} in it"),
        }),
    }
}

/// Reads a regular file of at most 4 GiB. Other kinds are rejected, because reading a pipe could block forever.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(Error::file(FileAction::Read, path))?;
    if !metadata.is_file() {
        return Err(Error::Content {
            path: path.to_owned(),
            place: String::new(),
            reason: format!("{}, not a file", kind_of(metadata.file_type())),
        });
    }
    check_size(path, metadata.len(), MAX_FILE_BYTES)?;
    std::fs::read(path).map_err(Error::file(FileAction::Read, path))
}

/// Describes something that is not a regular file.
#[cfg(unix)]
fn kind_of(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match file_type {
        it if it.is_dir() => "a directory",
        it if it.is_fifo() => "a pipe",
        it if it.is_socket() => "a socket",
        it if it.is_block_device() || it.is_char_device() => "a device",
        _ => "something else",
    }
}

#[cfg(not(unix))]
fn kind_of(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else {
        "something else"
    }
}

/// Reads, hashes and probes one photo.
pub(super) fn read_photo(
    root: &Root,
    file_name: &str,
    options: &IngestOptions,
) -> Result<(ImageRow, PhotoInfo)> {
    let bytes = root.read(file_name)?;
    let info = photo::probe(&bytes)?;
    info.check_decodable()?;
    if options.verify_pixels {
        photo::decode(&bytes, &DecodeLimits::default())?;
    }
    let side = |pixels: u32| {
        i32::try_from(pixels).map_err(|_| PhotoError::ImageTooLarge {
            width: info.width,
            height: info.height,
            limit: u64::from(u32::MAX),
        })
    };
    let row = ImageRow {
        image_id: ImageId::of_bytes(&bytes),
        file_name: file_name.to_owned(),
        root: root.name().to_owned(),
        width: side(info.width)?,
        height: side(info.height)?,
        orientation: i8::try_from(info.orientation).unwrap_or(1),
        format: info.format.as_str().to_owned(),
        file_bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        source: options.source.as_str().to_owned(),
        split: options.split.clone(),
        dataset: options.dataset.clone(),
        external_id: None,
        attributes: info.geo.as_ref().map(serde_json::to_string).transpose()?,
        ingested_at: Utc::now(),
    };
    Ok((row, info))
}

/// Adds what a data set says of an image to what the photo itself says.
pub(super) fn add_attributes(image: &mut ImageRow, said: Map<String, Value>) -> Result<()> {
    let mut all: Map<String, Value> = match &image.attributes {
        Some(of_photo) => serde_json::from_str(of_photo)?,
        None => Map::new(),
    };
    all.extend(said);
    image.attributes = (!all.is_empty()).then(|| Value::Object(all).to_string());
    Ok(())
}

/// A row of `failures` for a photo of which not all is used, because whoever annotates should know.
pub(super) fn taken_otherwise(image: &ImageRow, info: &PhotoInfo) -> Option<FailureRow> {
    let unused = info.unused.as_deref()?;
    Some(failure_of(image, &image.file_name, unused))
}

/// A failure of an item of an image that is read all the same.
pub(super) fn failure_of(image: &ImageRow, item: &str, reason: &str) -> FailureRow {
    let mut row = FailureRow::new("ingest", Some(&image.dataset), item, reason);
    row.image_id = Some(image.image_id.clone());
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        for bad in ["", "/etc/passwd", "../x.jpg", "a/../../x.jpg", "C:/x.jpg"] {
            assert!(root.join(bad).is_err(), "{bad}");
        }
        let path = root.join("./cats/1.jpg").unwrap();
        assert_eq!(root.file_name(&path).unwrap(), "cats/1.jpg");
        assert!(Root::new(&dir.path().join("missing")).is_err());
    }
}
