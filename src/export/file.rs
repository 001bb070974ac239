//! Files and directories that appear complete or not at all.
//!
//! In: the path of the result. Out: a temporary path beside it, which is renamed to the result's path at the end. Until
//! then, whatever was at that path stays, even if writing fails.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::error::FileAction;
use crate::ids::cut_file_name;
use crate::{Error, Result};

/// Number of results that this process has begun to write. It is part of their temporary names.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// A file or directory that is being written under a temporary name. It is removed if it is dropped unfinished.
#[derive(Debug)]
pub struct Unfinished {
    place: PathBuf,
    part: PathBuf,
}

impl Unfinished {
    /// Prepares a result that will be at `place`. If `place` is a link, its target is replaced.
    ///
    /// # Errors
    /// [`Error::File`] if the parent directory does not exist or the name is too long; [`Error::InvalidOption`] if
    /// `place` is a device or a pipe.
    pub fn new(place: &Path) -> Result<Self> {
        match fs::metadata(place) {
            Ok(there) if !there.is_file() && !there.is_dir() => {
                return Err(Error::InvalidOption {
                    what: "place to write to",
                    value: place.display().to_string(),
                    expected: "a file, or a place where there is nothing".to_owned(),
                });
            }
            Err(err) if err.kind() == ErrorKind::InvalidFilename => {
                return Err(Error::file(FileAction::Write, place)(err));
            }
            _ => {}
        }
        let place = &fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let found = fs::metadata(parent);
        found.map_err(Error::file(FileAction::Write, parent))?;
        // Two results for one path must have different temporary names, in one process or in two.
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed);
        let ending = format!(".{}-{begun}.part", std::process::id());
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let name = cut_file_name(&name, ending.len());
        Ok(Self {
            place: place.to_owned(),
            part: place.with_file_name(format!("{name}{ending}")),
        })
    }

    /// The temporary path to write to.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Creates the file.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::InvalidOption`] if the result's path is a directory.
    pub fn create(&self) -> Result<File> {
        if self.place.is_dir() {
            return Err(Error::InvalidOption {
                what: "file to write to",
                value: self.place.display().to_string(),
                expected: "a file; that is a directory".to_owned(),
            });
        }
        File::create(&self.part).map_err(Error::file(FileAction::Write, &self.part))
    }

    /// Creates the file as a JSON file.
    pub(super) fn create_json(&self) -> Result<JsonFile> {
        Ok(JsonFile::of(self.create()?, &self.part))
    }

    /// Creates an empty directory.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if anything but an empty directory is at the result's path; [`Error::File`].
    pub fn create_directory(&self) -> Result<()> {
        let is_free = match fs::read_dir(&self.place) {
            Ok(mut inside) => inside.next().is_none(),
            Err(_) => !self.place.exists(),
        };
        if !is_free {
            return Err(Error::InvalidOption {
                what: "directory to write to",
                value: self.place.display().to_string(),
                expected: "one that is empty or not there yet".to_owned(),
            });
        }
        fs::create_dir_all(&self.part).map_err(Error::file(FileAction::Create, &self.part))
    }

    /// Renames the result to its path. Returns its size in bytes; of a directory, that of all files in it.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read or renamed.
    pub fn finish(self) -> Result<u64> {
        let failed = |err| Error::file(FileAction::Write, &self.part)(err);
        let is_file = self.part.is_file();
        let bytes = if is_file {
            let file = File::open(&self.part).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            file.metadata().map_err(failed)?.len()
        } else {
            bytes_below(&self.part).map_err(failed)?
        };
        if !is_file && self.place.is_dir() {
            // It is empty: create_directory() has checked.
            fs::remove_dir(&self.place).map_err(Error::file(FileAction::Replace, &self.place))?;
        }
        fs::rename(&self.part, &self.place).map_err(Error::file(FileAction::Write, &self.place))?;
        Ok(bytes)
    }
}

/// The size of all files below a directory.
fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for found in walkdir::WalkDir::new(directory) {
        let found = found?;
        if found.file_type().is_file() {
            bytes += found.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// A JSON file that is written piece by piece.
#[derive(Debug)]
pub(super) struct JsonFile {
    out: BufWriter<File>,
    path: PathBuf,
}

impl JsonFile {
    /// Creates a file in a directory that is not finished.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::file(FileAction::Create, path))?;
        Ok(Self::of(file, path))
    }

    fn of(file: File, path: &Path) -> Self {
        Self {
            out: BufWriter::new(file),
            path: path.to_owned(),
        }
    }

    pub fn text(&mut self, text: &str) -> Result<()> {
        let written = self.out.write_all(text.as_bytes());
        written.map_err(Error::file(FileAction::Write, &self.path))
    }

    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(|err| {
            if err.is_io() {
                Error::file(FileAction::Write, &self.path)(err.into())
            } else {
                err.into()
            }
        })
    }

    /// Writes a list with one item per line.
    pub fn list(&mut self, items: impl IntoIterator<Item = impl Serialize>) -> Result<()> {
        self.text("[")?;
        for (at, item) in items.into_iter().enumerate() {
            self.text(if at == 0 { "\n" } else { ",\n" })?;
            self.json(&item)?;
        }
        self.text("]")
    }

    pub fn flush(&mut self) -> Result<()> {
        self.out
            .flush()
            .map_err(Error::file(FileAction::Write, &self.path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After finish(), nothing has this name any more.
        if self.part.is_dir() {
            let _ = fs::remove_dir_all(&self.part);
        } else {
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.json");
        fs::write(&place, "old").unwrap();
        let given_up = Unfinished::new(&place).unwrap();
        fs::write(given_up.path(), "ne").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&place).unwrap(), "old");
        let whole = Unfinished::new(&place).unwrap();
        fs::write(whole.path(), "new").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Unfinished::new(&dir.path().join("no/a.json")).is_err());
        let directory = Unfinished::new(dir.path()).unwrap().create();
        assert!(
            directory
                .unwrap_err()
                .to_string()
                .contains("that is a directory")
        );
    }

    #[test]
    fn two_results_for_one_place_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.json");
        let one = Unfinished::new(&place).unwrap();
        let other = Unfinished::new(&place).unwrap();
        fs::write(one.path(), "one").unwrap();
        fs::write(other.path(), "other").unwrap();
        assert_eq!(one.finish().unwrap(), 3);
        assert_eq!(fs::read_to_string(&place).unwrap(), "one");
        assert_eq!(other.finish().unwrap(), 5);
        assert_eq!(fs::read_to_string(&place).unwrap(), "other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_as_long_as_file_systems_allow_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x".repeat(255), "\u{732b}".repeat(85)] {
            let place = dir.path().join(name);
            let new = Unfinished::new(&place).unwrap();
            fs::write(new.path(), "new").unwrap();
            new.finish().unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        }
        let too_long = Unfinished::new(&dir.path().join("x".repeat(256)));
        let message = too_long.unwrap_err().to_string();
        assert!(message.contains("cannot write"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_to_what_is_replaced_and_devices_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (place, link) = (dir.path().join("a.json"), dir.path().join("link"));
        fs::write(&place, "old").unwrap();
        std::os::unix::fs::symlink(&place, &link).unwrap();
        let new = Unfinished::new(&link).unwrap();
        fs::write(new.path(), "new").unwrap();
        new.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&place).unwrap(), "new");
        let device = Unfinished::new(Path::new("/dev/null"))
            .unwrap_err()
            .to_string();
        assert!(device.contains("'/dev/null'"), "{device}");
    }

    #[test]
    fn a_directory_takes_the_place_of_an_empty_one_only() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("voc");
        fs::create_dir(&place).unwrap();
        let new = Unfinished::new(&place).unwrap();
        new.create_directory().unwrap();
        fs::write(new.path().join("a.txt"), "a").unwrap();
        new.finish().unwrap();
        assert!(place.join("a.txt").is_file());
        let other = Unfinished::new(&place).unwrap();
        let message = other.create_directory().unwrap_err().to_string();
        assert!(message.contains("empty or not there yet"), "{message}");
    }
}
