//! The photos of addresses, as annotation tools have them, in a directory.

use super::photo_file::Root;
use crate::{Error, Result};

/// Digits that Label Studio puts before the name of a file that is uploaded, and a '-'.
const UPLOAD_DIGITS: usize = 8;
/// Letters of an address that messages show at most.
const SHOWN: usize = 200;

/// The name, below a directory, of the photo of an address: the longest end of its path that is a file there; for a file that was
/// uploaded, also without the digits that an upload gets.
///
/// # Errors
/// [`Error::Annotation`] if there is none.
pub(super) fn find_photo(root: &Root, address: &str) -> Result<String> {
    let shown: String = address.chars().take(SHOWN).collect();
    if address.starts_with("data:") {
        return Err(Error::Annotation {
            reason: format!(
                "its photo is in the file itself ('{shown}...'); expected the address of one"
            ),
        });
    }
    let path = path_of(address);
    let parts: Vec<&str> = path
        .split(['/', '\\'])
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    for first in 0..parts.len() {
        let name = parts.get(first..).unwrap_or_default().join("/");
        if root.join(&name).is_ok_and(|path| path.is_file()) {
            return Ok(name);
        }
    }
    let last = parts.last().copied().unwrap_or_default();
    let uploaded = last.split_once('-').filter(|(digits, _)| {
        digits.len() == UPLOAD_DIGITS && digits.bytes().all(|it| it.is_ascii_hexdigit())
    });
    if let Some((_, name)) = uploaded
        && root.join(name).is_ok_and(|path| path.is_file())
    {
        return Ok(name.to_owned());
    }
    Err(Error::Annotation {
        reason: format!(
            "its photo '{shown}' is not in '{}', by any end of its path",
            root.name()
        ),
    })
}

/// The path of an address, decoded.
fn path_of(address: &str) -> String {
    // Label Studio's own addresses of files: /data/local-files/?d=PATH, /storage-data/uploaded/?filepath=PATH.
    let given = ["?d=", "?filepath="]
        .into_iter()
        .find_map(|key| address.split_once(key));
    let path = match given {
        Some((_, path)) => path,
        None => {
            let path = address.split_once("://").map_or(address, |(_, rest)| rest);
            path.split(['?', '#']).next().unwrap_or(path)
        }
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, later @ ..] = rest {
        rest = later;
        if *first == b'%'
            && let [high, low, after @ ..] = later
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high * 16 + low);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_found_by_the_ends_of_their_addresses() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b c")).unwrap();
        for name in ["a/b c/1.jpg", "2.jpg", "100%.jpg"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        for (address, expected) in [
            ("/data/local-files/?d=photos/a/b%20c/1.jpg", "a/b c/1.jpg"),
            (
                "/storage-data/uploaded/?filepath=upload/1/0a1b2c3d-2.jpg",
                "2.jpg",
            ),
            ("https://example.org/x/2.jpg?token=1#there", "2.jpg"),
            ("s3://bucket/a/b c/1.jpg", "a/b c/1.jpg"),
            ("/data/upload/3/0a1b2c3d-2.jpg", "2.jpg"),
            ("C:\\photos\\2.jpg", "2.jpg"),
            ("../../2.jpg", "2.jpg"),
            ("100%.jpg", "100%.jpg"),
        ] {
            assert_eq!(find_photo(&root, address).unwrap(), expected, "{address}");
        }
        let said = find_photo(&root, "/data/upload/3.jpg")
            .unwrap_err()
            .to_string();
        assert!(said.contains("'/data/upload/3.jpg' is not in"), "{said}");
    }
}
