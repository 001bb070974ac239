//! Lists the files below a directory in the order of their names, and recognises system files.
//!
//! It looks only at names and kinds; nothing is opened.

use std::path::{Component, Path};

use walkdir::{DirEntry, WalkDir};

/// Files and directories that macOS, Windows, Linux desktops, file servers and notebooks leave beside photos, compared
/// without regard to case. Names that begin with a dot would be skipped like hidden files; they are listed here so that
/// the count is right.
const SYSTEM_NAMES: [&str; 24] = [
    ".AppleDouble",
    ".DocumentRevisions-V100",
    ".DS_Store",
    ".directory",
    ".fseventsd",
    ".ipynb_checkpoints",
    ".localized",
    ".picasa.ini",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".thumbnails",
    ".Trashes",
    ".@__thumb",
    "#recycle",
    "#snapshot",
    "@eaDir",
    "@Recycle",
    "$RECYCLE.BIN",
    "__MACOSX",
    "desktop.ini",
    "ehthumbs.db",
    "lost+found",
    "System Volume Information",
    "Thumbs.db",
];
/// Prefix of AppleDouble files, in which macOS keeps metadata of the file whose name follows.
const APPLE_DOUBLE: &str = "._";

/// Every file below a directory, in the order of names, including pipes, sockets and devices. Hidden files are left out
/// unless they are system files. System directories that cannot be listed are skipped.
pub(super) fn walk(root: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let is_shown = |entry: &DirEntry| {
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        entry.depth() == 0 || !is_hidden || is_system_name(&name.to_string_lossy())
    };
    WalkDir::new(root)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(is_shown)
        .filter(move |found| match found {
            Ok(entry) => !entry.file_type().is_dir(),
            Err(err) => !err.path().is_some_and(|path| is_system(root, path)),
        })
}

/// What kept a directory from being listed.
pub(super) fn io_error(err: walkdir::Error) -> std::io::Error {
    let source = err.into_io_error();
    source.unwrap_or_else(|| std::io::Error::other("a loop of links"))
}

/// Whether the file, or a directory above it and below the root, is a system file.
pub(super) fn is_system(root: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().any(|part| match part {
        Component::Normal(name) => is_system_name(&name.to_string_lossy()),
        _ => false,
    })
}

/// Whether a file of a bucket is one that [`walk`] would list, by its name below the root.
pub(super) fn is_listed(file_name: &str) -> bool {
    let is_shown = |part: &str| !part.starts_with('.') || is_system_name(part);
    file_name.split('/').all(is_shown)
}

fn is_system_name(name: &str) -> bool {
    name.starts_with(APPLE_DOUBLE)
        || SYSTEM_NAMES
            .iter()
            .any(|system| system.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_leave_is_told_from_photos() {
        let root = Path::new("/photos/@eaDir");
        let is_system = |name: &str| is_system(root, &root.join(name));
        for name in [
            "._1.jpg",
            "cat/THUMBS.DB",
            "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
            "__MACOSX/cat/1.jpg",
        ] {
            assert!(is_system(name), "{name}");
        }
        for name in [
            "1.jpg",
            "cat/_1.jpg",
            "thumbs/1.jpg",
            ".git/1.jpg",
            "eaDir/1.jpg",
        ] {
            assert!(!is_system(name), "{name}");
        }
    }
}
