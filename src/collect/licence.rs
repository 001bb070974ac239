//! Licences of images, and which of them are wanted.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A licence that image sources name, without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Licence {
    /// CC0: rights are waived.
    Cc0,
    /// Public domain mark, or public domain otherwise.
    PublicDomain,
    /// Attribution.
    By,
    /// Attribution, share alike.
    BySa,
    /// Attribution, not commercial.
    ByNc,
    /// Attribution, no changes.
    ByNd,
    /// Attribution, not commercial, share alike.
    ByNcSa,
    /// Attribution, not commercial, no changes.
    ByNcNd,
}

impl Licence {
    /// All of them, with the words that Creative Commons and Openverse have for them.
    pub const WORDS: [(&'static str, Self); 8] = [
        ("cc0", Self::Cc0),
        ("pdm", Self::PublicDomain),
        ("by", Self::By),
        ("by-sa", Self::BySa),
        ("by-nc", Self::ByNc),
        ("by-nd", Self::ByNd),
        ("by-nc-sa", Self::ByNcSa),
        ("by-nc-nd", Self::ByNcNd),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, licence)| *licence == self);
        found.map_or("", |(word, _)| *word)
    }

    /// Reads what sources write, such as `by-sa`, `CC BY-SA 4.0`, `cc-by-sa-3.0,2.5`, `Public domain`; `None` for other
    /// licences.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let text = text.replace([' ', '_'], "-");
        if matches!(text.as_str(), "pd" | "pdm" | "public-domain" | "cc-pdm")
            || text.starts_with("pdm-")
            || text.starts_with("pd-")
        {
            return Some(Self::PublicDomain);
        }
        if text == "cc0" || text.starts_with("cc0-") || text.starts_with("cc-zero") {
            return Some(Self::Cc0);
        }
        let text = text.strip_prefix("cc-").unwrap_or(&text);
        // What follows the letters is a version, perhaps with a country.
        let letters: Vec<&str> = text
            .split('-')
            .take_while(|part| matches!(*part, "by" | "sa" | "nc" | "nd"))
            .collect();
        let letters = letters.join("-");
        let found = Self::WORDS.iter().find(|(word, _)| *word == letters);
        found.map(|(_, licence)| *licence)
    }
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The licences that images may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licences {
    /// Those that are wanted; `None` for any, known or not.
    wanted: Option<Vec<Licence>>,
}

impl Default for Licences {
    /// Those that allow reuse and changes.
    fn default() -> Self {
        let wanted = vec![
            Licence::Cc0,
            Licence::PublicDomain,
            Licence::By,
            Licence::BySa,
        ];
        Self {
            wanted: Some(wanted),
        }
    }
}

impl Licences {
    /// The licences that are wanted; `None` for any.
    pub fn wanted(&self) -> Option<&[Licence]> {
        self.wanted.as_deref()
    }

    /// Checks what a source says of an image's licence.
    ///
    /// # Errors
    /// The reason why the image is not wanted.
    pub fn check(&self, said: &str) -> Result<(), String> {
        let Some(wanted) = &self.wanted else {
            return Ok(());
        };
        match Licence::parse(said) {
            Some(licence) if wanted.contains(&licence) => Ok(()),
            _ if said.trim().is_empty() => Err("no licence is given".to_owned()),
            _ => Err(format!("its licence is '{}'", said.trim())),
        }
    }
}

impl FromStr for Licences {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "any" {
            return Ok(Self { wanted: None });
        }
        let words = text.split(',').map(str::trim);
        let wanted = words.map(|word| crate::options::one_of("licence", word, &Licence::WORDS));
        Ok(Self {
            wanted: Some(wanted.collect::<Result<_>>()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_write_licences_in_many_ways() {
        for (text, licence) in [
            ("by-sa", Some(Licence::BySa)),
            ("CC BY-SA 4.0", Some(Licence::BySa)),
            ("cc-by-sa-3.0,2.5,2.0,1.0", Some(Licence::BySa)),
            ("cc-by-2.0-de", Some(Licence::By)),
            ("CC0", Some(Licence::Cc0)),
            ("cc-zero", Some(Licence::Cc0)),
            ("cc0-1.0", Some(Licence::Cc0)),
            ("pd", Some(Licence::PublicDomain)),
            ("Public domain", Some(Licence::PublicDomain)),
            ("pdm", Some(Licence::PublicDomain)),
            ("by-nc-nd", Some(Licence::ByNcNd)),
            ("CC BY-NC 2.0", Some(Licence::ByNc)),
            ("GFDL", None),
            ("", None),
        ] {
            assert_eq!(Licence::parse(text), licence, "{text}");
        }
    }

    #[test]
    fn licences_are_wanted_by_list() {
        let default = Licences::default();
        assert!(default.check("by").is_ok());
        assert!(default.check("by-nd").is_err());
        assert_eq!(default.check("").unwrap_err(), "no licence is given");
        assert!("any".parse::<Licences>().unwrap().check("GFDL").is_ok());
        let some: Licences = "cc0, by-nc".parse().unwrap();
        assert!(some.check("cc-by-nc-4.0").is_ok() && some.check("by").is_err());
        assert!("cc1".parse::<Licences>().is_err());
    }
}
