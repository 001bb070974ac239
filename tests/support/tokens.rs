//! Rust's text as words, marks and groups in brackets, as far as the tests of imports need it.
//!
//! Comments are left out; strings, characters and lifetimes come as a mark `"`, so that nothing in them counts.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name, a keyword or a number.
    Word(String),
    /// One character that is none of the others.
    Mark(char),
    /// What stands between brackets, and the opening one.
    Group(char, Vec<Self>),
}

/// The tokens of a text.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut open: Vec<(char, Vec<Token>)> = vec![('\0', Vec::new())];
    while let Some(first) = rest.chars().next() {
        let (length, token) = match first {
            c if c.is_whitespace() => (c.len_utf8(), None),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (block_comment(rest), None),
            c if is_of_word(c) => match text_length(rest) {
                Some(length) => (length, Some(Token::Mark('"'))),
                None => {
                    let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                    (length, Some(Token::Word(rest[..length].to_owned())))
                }
            },
            '"' => (quoted(rest), Some(Token::Mark('"'))),
            '\'' => (character_or_lifetime(rest), Some(Token::Mark('"'))),
            '(' | '[' | '{' => {
                open.push((first, Vec::new()));
                (1, None)
            }
            ')' | ']' | '}' => {
                let (bracket, inside) = open.pop().unwrap();
                let expected = [('(', ')'), ('[', ']'), ('{', '}')];
                assert!(
                    expected.contains(&(bracket, first)),
                    "{bracket} and {first}"
                );
                (1, Some(Token::Group(bracket, inside)))
            }
            mark => (mark.len_utf8(), Some(Token::Mark(mark))),
        };
        open.last_mut().unwrap().1.extend(token);
        rest = &rest[length..];
    }
    let (_, found) = open.pop().unwrap();
    assert!(open.is_empty(), "a bracket stays open");
    found
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a comment that may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        let mark = rest.find("/*").into_iter().chain(rest.find("*/")).min();
        at += mark.expect("a comment that ends") + 2;
        depth += if text[..at].ends_with("/*") { 1 } else { -1 };
        if depth == 0 {
            return at;
        }
    }
}

/// Bytes of a string or character with letters before it: `b"`, `c"`, `r#"`, `b'`; none of a plain word.
fn text_length(text: &str) -> Option<usize> {
    let letters = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let (prefix, rest) = text.split_at(letters);
    if !["b", "c", "r", "br", "cr"].contains(&prefix) {
        return None;
    }
    if prefix == "b" && rest.starts_with('\'') {
        return Some(letters + character_or_lifetime(rest));
    }
    if !prefix.ends_with('r') {
        return rest.starts_with('"').then(|| letters + quoted(rest));
    }
    let hashes = rest.find(|c| c != '#')?;
    let end = format!("\"{}", &rest[..hashes]);
    let inside = rest[hashes..].strip_prefix('"')?; // else a raw name, r#type
    let length = inside.find(&end).expect("a string that ends") + end.len();
    Some(letters + hashes + 1 + length)
}

/// Bytes of a string from its opening quote to its closing one.
fn quoted(text: &str) -> usize {
    let quote = text.chars().next().unwrap();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a string does not end: {text}");
}

/// Bytes of `'a'` or of `'a`.
fn character_or_lifetime(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    let (first, second) = (characters.next(), characters.next());
    if first == Some('\\') || second == Some('\'') {
        return quoted(text);
    }
    let name = &text[1..];
    1 + name.find(|c| !is_of_word(c)).unwrap_or(name.len())
}

mod tests {
    use super::*;

    /// The words of a text, groups opened.
    fn words(text: &str) -> String {
        fn collect(tokens: &[Token], found: &mut Vec<String>) {
            for token in tokens {
                match token {
                    Token::Word(word) => found.push(word.clone()),
                    Token::Mark(_) => {}
                    Token::Group(_, inside) => collect(inside, found),
                }
            }
        }
        let mut found = Vec::new();
        collect(&tokens(text), &mut found);
        found.join(" ")
    }

    #[test]
    fn comments_and_texts_hold_no_words() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(words(r##"a "b \" c" d "\\" e "##), "a d e");
        assert_eq!(
            words(r###"a r"b\" c r#"d " e"# f br##"g"# h"## i b"j" k c"l" m"###),
            "a c f i k m"
        );
        assert_eq!(
            words(r"a 'b' c '\'' d '\\' e b'f' g '\u{41}' h '{' i"),
            "a c d e g h i"
        );
    }

    #[test]
    fn lifetimes_and_raw_names_are_no_texts() {
        let text = "fn f<'a>(x: &'a str, y: &'static T) { b }";
        assert_eq!(words(text), "fn f x str y T b");
        assert_eq!(words("r#type rest raw b c br"), "r type rest raw b c br");
    }

    #[test]
    fn brackets_nest() {
        let found = tokens("a{b[c]}(d)");
        let word = |word: &str| Token::Word(word.to_owned());
        let inner = Token::Group('[', vec![word("c")]);
        assert_eq!(
            found,
            [
                word("a"),
                Token::Group('{', vec![word("b"), inner]),
                Token::Group('(', vec![word("d")])
            ]
        );
    }
}
