//! Texts as ids of CLIP's vocabulary (upstream: `clip/simple_tokenizer.py`).
//!
//! The byte-pair encoding is the crate `instant-clip-tokenizer`, with OpenAI's vocabulary inside. What upstream does
//! before it with `ftfy` is done here as far as people type it: curly quotes become straight ones and HTML entities are
//! read. Full-width letters, ligatures and text in a wrong encoding are taken as they are.

use instant_clip_tokenizer::{Token, Tokenizer as BytePairs};

/// CLIP's tokenizer.
pub struct Tokenizer {
    byte_pairs: BytePairs,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").finish_non_exhaustive()
    }
}

/// What is replaced before a text is split, in this order.
const REPLACED: [(&str, &str); 9] = [
    ("\u{2018}", "'"),
    ("\u{2019}", "'"),
    ("\u{201c}", "\""),
    ("\u{201d}", "\""),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
];

impl Default for Tokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokenizer {
    /// The tokenizer with OpenAI's vocabulary of 49,408 tokens.
    pub fn new() -> Self {
        Self {
            byte_pairs: BytePairs::new(),
        }
    }

    /// The ids of a text between the start and the end token; a text of more than `context` tokens is cut.
    pub fn ids(&self, text: &str, context: usize) -> Vec<u32> {
        let replaced = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        let text = REPLACED.iter().fold(text.to_owned(), replaced);
        // upstream unescapes twice, so that `&amp;lt;` is `<`
        let text = REPLACED.iter().fold(text, replaced);
        let mut tokens: Vec<Token> = vec![self.byte_pairs.start_of_text()];
        self.byte_pairs.encode(&text, &mut tokens);
        tokens.truncate(context.saturating_sub(1));
        tokens.push(self.byte_pairs.end_of_text());
        let ids = tokens.into_iter().map(|token| u32::from(token.to_u16()));
        ids.collect()
    }
}
