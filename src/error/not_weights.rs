//! Errors of files that were given as a checkpoint and hold no readable weights: what they are, and what to do next.

use crate::photo::PhotoFormat;

/// What is wrong with a file of weights. The text completes a sentence that begins with the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWeights {
    /// A file without bytes.
    #[error("is empty; fetch it again")]
    Empty,

    /// A pipe, a device or a socket.
    #[error("is a pipe or a device; write the weights to a file and name that")]
    NotAFile,

    /// The text that Git LFS keeps in place of a large file.
    #[error(
        "is a Git LFS pointer and not the file it points to{}; run 'git lfs pull' in its folder, or download the \
         file itself",
        of_bytes(*size)
    )]
    LfsPointer {
        /// Size of the file that it points to.
        size: Option<u64>,
    },

    /// HTML that a server sent in place of a file.
    #[error(
        "is a web page{}, not weights; open its address in a browser to see what it asks for, and download the \
         file itself",
        titled(title.as_deref())
    )]
    WebPage {
        /// The page's title.
        title: Option<String>,
    },

    /// XML that a server sent in place of a file.
    #[error(
        "is an XML document{}, not weights: what a server answers when it does not give the file; check the \
         address and whether you may read it, and download it again",
        saying(code.as_deref())
    )]
    Xml {
        /// The content of `<Code>`: `AccessDenied`, ...
        code: Option<String>,
    },

    /// JSON.
    #[error(
        "is JSON that begins '{start}', not weights; name the file of weights, or the folder that holds both"
    )]
    Json {
        /// Its first characters.
        start: String,
    },

    /// Other text.
    #[error("is text that begins '{start}', not weights; download the file itself")]
    Text {
        /// Its first characters.
        start: String,
    },

    /// A photo.
    #[error("is a photo ({format}), not weights")]
    Photo {
        /// Its format.
        format: PhotoFormat,
    },

    /// An archive or a compressed file.
    #[error("is a {format} archive; unpack it and name the file of weights inside")]
    Archive {
        /// Its format.
        format: &'static str,
    },

    /// A file format that is recognised by its first bytes and not supported.
    #[error(
        "is a file of format {format}, which is not read; expected PyTorch's .pth or safetensors"
    )]
    OtherFormat {
        /// The format.
        format: &'static str,
    },

    /// A TorchScript archive, which holds a program beside its weights.
    #[error(
        "is a TorchScript archive, which holds a program beside its weights; save its weights alone: \
         python -c \"import torch; torch.save(torch.jit.load('IN.pt', map_location='cpu').state_dict(), 'OUT.pth')\""
    )]
    TorchScript,

    /// A pickled object that holds tensors.
    #[error(
        "holds its tensors in a Python object of type '{class}', which is not run; save its weights alone, where that \
         class can be imported: python -c \"import torch; torch.save(torch.load('IN.pth', map_location='cpu', \
         weights_only=False).state_dict(), 'OUT.pth')\""
    )]
    PythonObject {
        /// The object's Python type.
        class: String,
    },

    /// A file that ends before its own tables say.
    #[error("is cut off after {}{}; fetch it again", bytes(*found), of_expected(*expected))]
    Cut {
        /// Bytes that it should have, if it says so.
        expected: Option<u64>,
        /// Bytes that it has.
        found: u64,
    },

    /// A safetensors header whose length cannot be right.
    #[error(
        "says that its safetensors header takes {header} bytes, and has {} itself: it is damaged or cut off; fetch it \
         again",
        bytes(*found)
    )]
    SafetensorsHeader {
        /// Bytes that the header should have.
        header: u64,
        /// Bytes that the file has.
        found: u64,
    },

    /// Bytes of no known format.
    #[error(
        "is of no known format: it begins with the bytes {start}; expected PyTorch's .pth or safetensors"
    )]
    Unknown {
        /// Its first bytes, in hex.
        start: String,
    },
}

fn bytes(count: u64) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

fn of_bytes(size: Option<u64>) -> String {
    size.map_or_else(String::new, |size| format!(", of {size} bytes"))
}

fn of_expected(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |expected| format!(" of {expected}"))
}

fn titled(title: Option<&str>) -> String {
    title.map_or_else(String::new, |title| format!(" titled '{title}'"))
}

fn saying(code: Option<&str>) -> String {
    code.map_or_else(String::new, |code| format!(" that says '{code}'"))
}
