//! Small files that are complete and on the disk before they get their name, and that reveal a changed byte.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::FileAction;
use crate::{Error, Result};

/// Creates a file in a store, complete and on the disk (fsync) before it gets its name; returns false if it exists.
pub(super) fn create_file(store: &Path, path: &Path, content: &[u8]) -> Result<bool> {
    let directory = path.parent().unwrap_or(path);
    create_directory(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", fastrand::u64(..)));
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<bool> {
        let mut file = File::create_new(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        match fs::hard_link(&part, path) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(err) => Err(err),
        }
    };
    let created = write().map_err(Error::file(FileAction::Write, path));
    let _ = fs::remove_file(&part);
    if *created.as_ref().unwrap_or(&false) {
        up_to(store, directory).try_for_each(sync_directory)?;
    }
    created
}

/// Replaces a file by one that is complete and on the disk (fsync) before it gets the name.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", fastrand::u64(..)));
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create_new(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    if let Err(err) = write() {
        let _ = fs::remove_file(&part);
        return Err(Error::file(FileAction::Write, path)(err));
    }
    sync_directory(directory)
}

/// Creates a directory and its missing parents, and fsyncs the directories that get a new entry.
pub(super) fn create_directory(directory: &Path) -> Result<()> {
    let changed = directories_changed(directory);
    fs::create_dir_all(directory).map_err(Error::file(FileAction::Create, directory))?;
    changed.into_iter().try_for_each(sync_directory)
}

/// The directories that get a new entry when a directory and its missing parents are created, deepest first.
fn directories_changed(directory: &Path) -> Vec<&Path> {
    let new = directory.ancestors().take_while(|path| !path.exists());
    new.filter_map(Path::parent).collect()
}

/// A directory and its parents, up to the store's own. After a power cut a file is found again only if each of them has
/// its entry on the disk, whoever created them.
pub(super) fn up_to<'a>(store: &'a Path, directory: &'a Path) -> impl Iterator<Item = &'a Path> {
    let above = directory.ancestors();
    above.take_while(move |path| path.starts_with(store))
}

/// Fsyncs a directory; does nothing on Windows, where that is not possible.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    if cfg!(unix) {
        sync_file(directory)
    } else {
        Ok(())
    }
}

pub(super) fn sync_file(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::file(FileAction::Open, path))?;
    file.sync_all()
        .map_err(Error::file(FileAction::Write, path))
}

/// The text between the last key of a sealed object and the checksum of everything before this text.
const SEAL: &[u8] = b",\n  \"xxh3\": \"";

/// Adds a JSON object's own checksum to it, as its last key.
pub(super) fn sealed(mut object: Vec<u8>) -> Vec<u8> {
    object.truncate(object.len().saturating_sub(2)); // the closing brace
    let sum = format!("{:016x}\"\n}}", xxh3_64(&object));
    object.extend(SEAL);
    object.extend(sum.as_bytes());
    object
}

/// Compares an object with its own checksum. An object without one passes, because earlier versions of grainstore wrote
/// none.
pub(super) fn check_seal(object: &[u8]) -> std::result::Result<(), &'static str> {
    let Some(at) = object.windows(SEAL.len()).rposition(|part| part == SEAL) else {
        return Ok(());
    };
    let (content, seal) = object.split_at(at);
    let sum = format!("{:016x}\"\n}}", xxh3_64(content));
    if seal.strip_prefix(SEAL) == Some(sum.as_bytes()) {
        Ok(())
    } else {
        Err("its content has changed since it was written; restore it from a backup")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CommitRecord;

    #[test]
    fn every_directory_that_gets_an_entry_is_written_to_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("new/store");
        let data = store.join("images.lance/data");
        let (table, above) = (store.join("images.lance"), dir.path().join("new"));
        let expected = [table.as_path(), &store, &above, dir.path()];
        assert_eq!(directories_changed(&data), expected);
        create_directory(&data).unwrap();
        assert!(data.is_dir());
        assert!(directories_changed(&data).is_empty());
        create_directory(&data).unwrap();
        let found: Vec<&Path> = up_to(&store, &data).collect();
        assert_eq!(found, [data.as_path(), &table, &store]);
        assert!(create_file(&store, &store.join("tags/a.json"), b"{}").unwrap());
        assert!(!create_file(&store, &store.join("tags/a.json"), b"{}").unwrap());
    }

    #[test]
    fn a_sealed_object_shows_every_change_of_what_it_says() {
        let record = CommitRecord::first();
        let written = sealed(serde_json::to_vec_pretty(&record).unwrap());
        assert_eq!(check_seal(&written), Ok(()));
        assert_eq!(
            serde_json::from_slice::<CommitRecord>(&written).unwrap(),
            record
        );
        for at in 0..written.len() {
            for bit in 0..8 {
                let mut changed = written.clone();
                changed[at] ^= 1 << bit;
                let read = check_seal(&changed).and_then(|()| {
                    serde_json::from_slice::<CommitRecord>(&changed).map_err(|_| "no JSON")
                });
                if let Ok(read) = read {
                    assert_eq!(read, record, "byte {at}, bit {bit}");
                }
            }
        }
        assert_eq!(
            check_seal(b"{\n  \"version\": 1\n}"),
            Ok(()),
            "of an earlier version"
        );
    }
}
