//! Which modules of the crate a source text names: the text as tokens, paths resolved from the crate's root.
//!
//! Comments and strings name nothing; macros are read as all else is. Paths that begin with a child's name are read
//! by [`uses_of_children`] alone.

use std::collections::BTreeSet;

use super::tokens::{Token, tokens};

/// Names from the crate's root on: modules, then an item or `*`.
pub type Path = Vec<String>;

/// A path that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The module that names it, `tests` inside a file included.
    pub by: Path,
    pub path: Path,
    /// The name under which a `use` brings it in.
    pub alias: String,
}

/// The module that a file of `src` holds: `["store", "rows"]` of `store/rows/mod.rs`, nothing of `lib.rs`.
pub fn module_of(file: &str) -> Path {
    let names = file.trim_end_matches(".rs").split('/');
    let mut module: Path = names.map(str::to_owned).collect();
    let last = module.last().map(String::as_str);
    if matches!(last, Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Paths that begin with `crate`, `grainstore`, `self` or `super` in the text of a module.
pub fn named_paths(module: &[String], text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    walk(&tokens(text), module, &mut found);
    found
}

/// What the text of a folder's own module brings in from its children: `Rle` of `pub use rle::Rle`.
pub fn uses_of_children(module: &[String], text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let tokens = tokens(text);
    for (at, token) in tokens.iter().enumerate() {
        let child = word(tokens.get(at + 1)).filter(|it| !ROOTS.contains(&it.as_str()));
        if is_word(token, "use") && child.is_some() {
            let start = Start::at(module, module.to_vec());
            start.read(&mut &tokens[at + 1..], &mut found);
        }
    }
    found
}

/// Every name in a text, of crates among them.
pub fn words(text: &str) -> BTreeSet<String> {
    fn collect(tokens: &[Token], found: &mut BTreeSet<String>) {
        for token in tokens {
            if let Token::Group(_, inside) = token {
                collect(inside, found);
            }
            found.extend(word(Some(token)));
        }
    }
    let mut found = BTreeSet::new();
    collect(&tokens(text), &mut found);
    found
}

/// Words that begin a path whose root is known.
const ROOTS: [&str; 4] = ["crate", "grainstore", "self", "super"];

fn word(token: Option<&Token>) -> Option<String> {
    match token {
        Some(Token::Word(word)) => Some(word.clone()),
        _ => None,
    }
}

fn is_word(token: &Token, wanted: &str) -> bool {
    word(Some(token)).is_some_and(|word| word == wanted)
}

fn is_mark(token: Option<&Token>, wanted: char) -> bool {
    matches!(token, Some(Token::Mark(mark)) if *mark == wanted)
}

/// Takes `::` off the front, where it stands there.
fn colons(rest: &mut &[Token]) -> bool {
    let found = is_mark(rest.first(), ':') && is_mark(rest.get(1), ':');
    if found {
        *rest = &rest[2..];
    }
    found
}

fn parent(module: &[String]) -> Path {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn walk(tokens: &[Token], module: &[String], found: &mut Vec<Named>) {
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token {
            Token::Group(_, inside) => walk(inside, module, found),
            Token::Word(word) if word == "mod" => {
                if let [Token::Word(name), Token::Group('{', body), after @ ..] = rest {
                    walk(body, &[module, std::slice::from_ref(name)].concat(), found);
                    rest = after;
                }
            }
            Token::Word(word) => {
                let mut base = match word.as_str() {
                    "crate" | "grainstore" => Path::new(),
                    "self" => module.to_vec(),
                    "super" => parent(module),
                    _ => continue,
                };
                // Without `::` it is `pub(crate)`, or a method's receiver.
                let mut path = colons(&mut rest);
                while path && rest.first().is_some_and(|token| is_word(token, "super")) {
                    base = parent(&base);
                    rest = &rest[1..];
                    path = colons(&mut rest);
                }
                if path {
                    Start::at(module, base).read(&mut rest, found);
                }
            }
            Token::Mark(_) => {}
        }
    }
}

/// The beginning of a path.
struct Start<'a> {
    by: &'a [String],
    path: Path,
}

impl<'a> Start<'a> {
    fn at(by: &'a [String], path: Path) -> Self {
        Self { by, path }
    }

    /// Reads on, and takes off the front what belongs to it: names, a `*`, a list of such in braces.
    fn read(mut self, rest: &mut &[Token], found: &mut Vec<Named>) {
        while let Some((token, after)) = rest.split_first() {
            match token {
                Token::Word(name) => {
                    *rest = after;
                    // `{self, ...}` is the path so far.
                    if name != "self" {
                        self.path.push(name.clone());
                    }
                    if colons(rest) {
                        continue;
                    }
                }
                Token::Group('{', items) => {
                    *rest = after;
                    for item in items.split(|token| is_mark(Some(token), ',')) {
                        Start::at(self.by, self.path.clone()).read(&mut &*item, found);
                    }
                    return;
                }
                Token::Mark('*') => {
                    *rest = after;
                    self.path.push("*".to_owned());
                }
                _ => {} // `name::<T>`
            }
            let renamed = rest.first().is_some_and(|token| is_word(token, "as"));
            let alias = word(rest.get(1)).filter(|_| renamed);
            found.push(Named {
                by: self.by.to_vec(),
                alias: alias.or(self.path.last().cloned()).unwrap_or_default(),
                path: self.path,
            });
            return;
        }
    }
}

mod tests {
    use super::*;

    fn paths(module: &str, text: &str) -> Vec<String> {
        let named = named_paths(&module_of(module), text).into_iter();
        named.map(|it| it.path.join("::")).collect()
    }

    #[test]
    fn lists_in_lists_are_read_to_their_end() {
        assert_eq!(
            paths(
                "a.rs",
                "use crate::{b::{C, d::{E as F, G}}, h::*, i::{self, J}};"
            ),
            ["b::C", "b::d::E", "b::d::G", "h::*", "i", "i::J"]
        );
        assert_eq!(
            paths("a.rs", "use {crate::b, std::fmt, grainstore::c::D,};"),
            ["b", "c::D"]
        );
    }

    #[test]
    fn supers_are_climbed_from_files_and_from_modules_in_them() {
        assert_eq!(paths("a/b.rs", "use super::super::c::D;"), ["c::D"]);
        assert_eq!(
            paths(
                "a/b.rs",
                "mod tests { use super::*; use super::super::c::D; }"
            ),
            ["a::b::*", "a::c::D"]
        );
        assert_eq!(
            paths("a/mod.rs", "use super::b::C; use self::d::E;"),
            ["b::C", "a::d::E"]
        );
        // After a module in the file, its own depth again.
        assert_eq!(
            paths("a/b.rs", "mod c { } fn f() { super::d::g() }"),
            ["a::d::g"]
        );
    }

    #[test]
    fn paths_in_expressions_types_and_macros_are_read() {
        assert_eq!(
            paths(
                "a.rs",
                "fn f(x: crate::b::C<crate::d::E>) { vec![crate::g::h::<crate::i::J>()] }"
            ),
            ["b::C", "d::E", "g::h", "i::J"]
        );
    }

    #[test]
    fn what_only_looks_like_a_path_names_nothing() {
        let text = r##"
            // use crate::b;
            /// [`crate::c`]
            /* use crate::{d}; /* crate::e */ */
            pub(crate) fn f(&self) -> &'static str { let _ = '"'; r#"crate::g "quoted" "# }
        "##;
        assert!(paths("a.rs", text).is_empty());
        assert!(words(text).contains("f") && !words(text).contains("g"));
    }

    #[test]
    fn a_folder_says_which_child_an_item_comes_from() {
        let text = "mod b; pub use b::{C, d::E as F}; use crate::g; use std::fmt;";
        let named = uses_of_children(&module_of("a/mod.rs"), text);
        let pairs: Vec<_> = named
            .iter()
            .map(|it| (it.alias.as_str(), it.path.join("::")))
            .collect();
        assert_eq!(
            pairs,
            [
                ("C", "a::b::C".to_owned()),
                ("F", "a::b::d::E".to_owned()),
                ("fmt", "a::std::fmt".to_owned())
            ]
        );
    }
}
