//! The documentation: every link leads somewhere, and every page has its place on the site.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use walkdir::WalkDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages, by their paths from the repository's top.
fn pages() -> Vec<PathBuf> {
    let single = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "python/README.md",
    ];
    let folders = [
        "docs", "schemas", "queries", "assets", "tests", "fuzz", "benches",
    ];
    let below = folders
        .iter()
        .flat_map(|folder| WalkDir::new(root().join(folder)));
    let below = below.filter_map(Result::ok).map(|entry| entry.into_path());
    let pages = below.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let pages = pages.map(|path| path.strip_prefix(root()).unwrap().to_owned());
    pages.chain(single.map(PathBuf::from)).collect()
}

/// Addresses of links and pictures, and the anchors of headings as forges make them.
fn read(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors) = (Vec::new(), BTreeSet::new());
    let mut heading: Option<String> = None;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for event in Parser::new_ext(text, pulldown_cmark::Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let words = heading.take().unwrap_or_default().to_lowercase();
                let kept = words
                    .chars()
                    .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
                let anchor = kept.collect::<String>().replace(' ', "-");
                let before = seen.entry(anchor.clone()).or_default();
                anchors.insert(match *before {
                    0 => anchor,
                    n => format!("{anchor}-{n}"),
                });
                *before += 1;
            }
            _ => {}
        }
    }
    (links, anchors)
}

/// What is wrong with a link of a page, if anything.
fn broken(page: &Path, link: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"]
        .iter()
        .any(|it| link.starts_with(it))
    {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    // The order of the site is written from the repository's top.
    let folder = if page.ends_with("SUMMARY.md") {
        Path::new("")
    } else {
        page.parent().unwrap()
    };
    let target = match path {
        "" => root().join(page),
        path => root().join(folder).join(path),
    };
    if !target.exists() {
        return Some(format!("{}: '{link}' leads nowhere", page.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(&target).unwrap_or_default();
    let known = read(&text).1.contains(anchor);
    (!known).then(|| format!("{}: '{link}' names no heading", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    let mut found = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        for link in read(&text).0 {
            count += 1;
            found.extend(broken(&page, &link));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(count > 100, "{count}");
}

#[test]
fn a_broken_link_would_be_found() {
    let page = Path::new("docs/train.md");
    for link in ["nowhere.md", "eval.md#no-such-heading", "#no-such-heading"] {
        assert!(broken(page, link).is_some(), "{link}");
    }
    for link in [
        "eval.md",
        "../README.md#the-store-on-disk",
        "https://example.org/x",
    ] {
        assert!(broken(page, link).is_none(), "{link}");
    }
}

#[test]
fn every_page_has_its_place_on_the_site() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = read(&summary).0.iter().map(PathBuf::from).collect();
    let docs = pages()
        .into_iter()
        .filter(|page| page.parent() == Some(Path::new("docs")));
    let missing: Vec<_> = docs
        .filter(|page| !page.ends_with("SUMMARY.md") && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
