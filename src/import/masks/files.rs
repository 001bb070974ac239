//! The files of a source: one file, or all below a directory that have the right extension.
//!
//! Every file is read once to take the SHA-256 that identifies the source, and to look at what tells its image. Masks
//! are read later, of those images only that need them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::item::{Unusable, with_causes};
use crate::error::FileAction;
use crate::ids::hex;
use crate::progress::{Progress, ProgressSender, progress_channel};
use crate::task::blocking;
use crate::{Error, Result};

/// A kind of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileKind {
    /// Extensions in lower case, without the dot.
    pub extensions: &'static [&'static str],
    /// What they hold, in words.
    pub what: &'static str,
}

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    pub path: PathBuf,
    /// Path below the source's directory, with `/` between its parts.
    pub name: String,
}

/// Every file of a source, with what was seen in it.
#[derive(Debug)]
pub(super) struct Looked<T> {
    /// SHA-256 of the only file or, for a directory, of a text with a line `SHA-256  NAME` for each file, sorted. In a
    /// shell: `(cd DIR; sha256sum FILE... | LC_ALL=C sort | sha256sum)`.
    pub sha256: String,
    pub files: Vec<(SourceFile, T)>,
    pub unusable: Vec<Unusable>,
}

/// Reads every file of a source. `look` sees its bytes; its errors need not name the file.
///
/// # Errors
/// [`Error::File`] if the path cannot be read or listed; [`Error::Content`] if there is no file of the kind, or if no
/// file can be used: then the error of the first.
pub(super) async fn look_at<T: Send + 'static>(
    path: &Path,
    kind: FileKind,
    look: fn(&[u8]) -> Result<T>,
    progress: &dyn Progress,
) -> Result<Looked<T>> {
    let path = path.to_owned();
    let (sender, events) = progress_channel();
    let looking = blocking("reading the files", move || {
        let sender: ProgressSender = sender;
        let listed = Listed::of(&path, kind)?;
        sender.start("files", Some(listed.files.len() as u64));
        let seen: Vec<Seen<T>> = listed
            .files
            .par_iter()
            .map(|file| {
                let seen = Seen::of(file, look);
                sender.advance(1);
                seen
            })
            .collect();
        sender.finish();
        listed.with(seen)
    });
    let (looked, ()) = tokio::join!(looking, events.forward(progress));
    looked
}

/// The files of a source, in the order of their names.
struct Listed {
    files: Vec<SourceFile>,
    is_directory: bool,
}

impl Listed {
    fn of(path: &Path, kind: FileKind) -> Result<Self> {
        let found = std::fs::metadata(path).map_err(Error::file(FileAction::Read, path))?;
        if !found.is_dir() {
            let name = path.file_name().unwrap_or_default();
            let file = SourceFile {
                path: path.to_owned(),
                name: name.to_string_lossy().into_owned(),
            };
            return Ok(Self {
                files: vec![file],
                is_directory: false,
            });
        }
        let mut files = Vec::new();
        let walk = WalkDir::new(path).follow_links(true).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(is_shown) {
            let entry = entry.map_err(|err| cannot_list(path, err))?;
            if entry.file_type().is_file() && has_extension(entry.path(), kind.extensions) {
                files.push(SourceFile {
                    path: entry.path().to_owned(),
                    name: name_below(path, entry.path()),
                });
            }
        }
        if files.is_empty() {
            let extensions: Vec<String> =
                kind.extensions.iter().map(|it| format!(".{it}")).collect();
            return Err(Error::Content {
                path: path.to_owned(),
                place: String::new(),
                reason: format!("no {} are below it ({})", kind.what, extensions.join(", ")),
            });
        }
        Ok(Self {
            files,
            is_directory: true,
        })
    }

    /// Adds what was seen in each file.
    fn with<T>(self, seen: Vec<Seen<T>>) -> Result<Looked<T>> {
        let mut sums = Vec::with_capacity(seen.len());
        let mut files = Vec::with_capacity(seen.len());
        let mut unusable = Vec::new();
        for (file, seen) in self.files.into_iter().zip(seen) {
            sums.extend(seen.sha256.map(|sha256| (sha256, file.name.clone())));
            match seen.found {
                Ok(found) => files.push((file, found)),
                Err(why) if self.is_directory => unusable.push((file, why)),
                Err(why) => return Err(in_file(file.path, why)),
            }
        }
        if files.is_empty()
            && let Some((file, why)) = unusable.drain(..).next()
        {
            return Err(in_file(file.path, why));
        }
        Ok(Looked {
            sha256: sha256_of(sums, self.is_directory),
            files,
            unusable: unusable
                .into_iter()
                .map(|(file, why)| Unusable {
                    item: file.name,
                    image_id: None,
                    why,
                })
                .collect(),
        })
    }
}

/// What was seen in a file.
struct Seen<T> {
    /// `None` if it cannot be read.
    sha256: Option<String>,
    found: Result<T>,
}

impl<T> Seen<T> {
    fn of(file: &SourceFile, look: fn(&[u8]) -> Result<T>) -> Self {
        match std::fs::read(&file.path) {
            Ok(bytes) => Self {
                sha256: Some(hex(&Sha256::digest(&bytes))),
                found: look(&bytes),
            },
            Err(err) => Self {
                sha256: None,
                found: Err(Error::file(FileAction::Read, &file.path)(err)),
            },
        }
    }
}

fn sha256_of(mut sums: Vec<(String, String)>, is_directory: bool) -> String {
    if !is_directory {
        return sums.pop().map(|(sha256, _)| sha256).unwrap_or_default();
    }
    sums.sort_unstable();
    let mut hash = Sha256::new();
    for (sha256, name) in sums {
        hash.update(format!("{sha256}  {name}\n"));
    }
    hex(&hash.finalize())
}

/// The error of a file that is not what it should be.
fn in_file(path: PathBuf, why: Error) -> Error {
    match why {
        Error::File { .. } => why,
        _ => Error::Content {
            path,
            place: String::new(),
            reason: with_causes(&why),
        },
    }
}

fn cannot_list(root: &Path, err: walkdir::Error) -> Error {
    let path = err.path().unwrap_or(root).to_owned();
    let source = err.into_io_error();
    let source = source.unwrap_or_else(|| std::io::Error::other("a loop of links"));
    Error::file(FileAction::List, path)(source)
}

/// Hidden files are those that systems leave, such as `._a.png`.
fn is_shown(entry: &DirEntry) -> bool {
    entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|it| it.to_str());
    extension.is_some_and(|it| extensions.contains(&it.to_lowercase().as_str()))
}

fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;

    const TEXTS: FileKind = FileKind {
        extensions: &["txt"],
        what: "texts",
    };

    fn not_empty(bytes: &[u8]) -> Result<usize> {
        match bytes.len() {
            0 => Err(Error::Annotation {
                reason: "nothing".to_owned(),
            }),
            length => Ok(length),
        }
    }

    async fn look(path: &Path) -> Result<Looked<usize>> {
        look_at(path, TEXTS, not_empty, &NoProgress).await
    }

    #[tokio::test]
    async fn directories_are_identified_by_names_and_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        for (name, text) in [
            ("b/2.txt", "two"),
            ("1.TXT", "one"),
            (".3.txt", "x"),
            ("4.md", "x"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let looked = look(dir.path()).await.unwrap();
        let names: Vec<_> = looked
            .files
            .iter()
            .map(|(file, _)| &file.name[..])
            .collect();
        assert_eq!(names, ["1.TXT", "b/2.txt"]);
        // (cd DIR; sha256sum 1.TXT b/2.txt | LC_ALL=C sort | sha256sum)
        let expected = "e2c9015083c0f6ba4bc95701bac0471a263a5230875022d874f82f83d0ae5d87";
        assert_eq!(looked.sha256, expected);
        let one = look(&dir.path().join("1.TXT")).await.unwrap();
        // printf one | sha256sum
        let expected = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
        assert_eq!(one.sha256, expected);

        std::fs::write(dir.path().join("5.txt"), "").unwrap();
        let looked = look(dir.path()).await.unwrap();
        assert_eq!((looked.files.len(), looked.unusable.len()), (2, 1));
        assert_eq!(looked.unusable[0].item, "5.txt");
    }

    #[tokio::test]
    async fn what_holds_nothing_usable_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let message = |err: Error| err.to_string();
        let none = message(look(dir.path()).await.unwrap_err());
        assert!(none.ends_with("no texts are below it (.txt)"), "{none}");
        std::fs::write(dir.path().join("1.txt"), "").unwrap();
        for path in [dir.path().to_owned(), dir.path().join("1.txt")] {
            let empty = message(look(&path).await.unwrap_err());
            assert!(empty.ends_with("1.txt': nothing"), "{empty}");
        }
        let missing = message(look(&dir.path().join("2.txt")).await.unwrap_err());
        assert!(missing.starts_with("cannot read '"), "{missing}");
    }
}
