//! The gray levels of a label map's classes.

use super::pixel_maps::{PixelMaps, VOID};
use crate::formats::OBJECTS_PER_CLASS;
use crate::{Error, Result};

/// Greatest value of a class with objects: its last object must be below void.
const MAX_OBJECT_CLASS: i64 = 64;

/// A class of a label map.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassOfMap<'a> {
    pub id: i64,
    pub name: &'a str,
    /// Whether its values are class x 1000 + object.
    pub has_objects: bool,
}

/// The gray levels of classes.
pub(super) struct Values {
    background: u16,
    /// Of each class, in order.
    of_class: Vec<u16>,
    /// Whether a class has objects, of each class.
    has_objects: Vec<bool>,
}

impl Values {
    /// If a value of the background is given, classes have their ids; if not, it is 0, and classes have their ids if these are
    /// different and fit, else their places.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for ids that do not fit, if classes are to have them, or for too many classes.
    pub fn of(classes: &[ClassOfMap<'_>], background: Option<u16>) -> Result<Self> {
        let any_objects = classes.iter().any(|class| class.has_objects);
        let range = |class: &ClassOfMap<'_>| match class.has_objects {
            true => 1..=MAX_OBJECT_CLASS,
            // Beyond would be an object.
            false if any_objects => 0..=i64::from(OBJECTS_PER_CLASS) - 1,
            false => 0..=i64::from(VOID) - 1,
        };
        let mut ids: Vec<i64> = classes.iter().map(|class| class.id).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).find(|ids| ids.first() == ids.last());
        let unfit = classes.iter().find(|it| !range(it).contains(&it.id));
        let has_zero = ids.first() == Some(&0);
        let of_class = if twice.is_none() && unfit.is_none() && (background.is_some() || !has_zero)
        {
            let ids = classes.iter().map(|class| u16::try_from(class.id));
            ids.collect::<Result<Vec<u16>, _>>().unwrap_or_default()
        } else if background.is_some() {
            return Err(no_ids(
                twice.and_then(|ids| ids.first()),
                unfit.map(|it| (it, range(it))),
            ));
        } else {
            let most = classes.iter().map(|class| *range(class).end()).min();
            let most = most.unwrap_or(i64::from(VOID) - 1);
            if i64::try_from(classes.len()).is_ok_and(|count| count > most) {
                return Err(Error::InvalidOption {
                    what: "class set of a label map",
                    value: format!("{} classes", classes.len()),
                    expected: format!("at most {most}"),
                });
            }
            (1..=VOID).take(classes.len()).collect()
        };
        Ok(Self {
            background: background.unwrap_or(0),
            of_class,
            has_objects: classes.iter().map(|class| class.has_objects).collect(),
        })
    }

    /// Whether levels need 16 bits: 255 is void, where there are 8.
    pub fn is_wide(&self) -> bool {
        let wide = |value: &u16| *value >= u16::from(u8::MAX);
        self.has_objects.contains(&true)
            || self.of_class.iter().any(wide)
            || self.background > u16::from(u8::MAX)
    }

    /// The level of each pixel.
    pub fn levels(&self, drawn: &PixelMaps) -> Vec<u16> {
        let at = |place: u16| usize::from(place).checked_sub(1);
        // In 8 bits, too, the lower byte of void is the greatest level.
        let class = |place: u16| match at(place) {
            None => self.background,
            Some(at) => self.of_class.get(at).copied().unwrap_or(VOID),
        };
        let has_objects = |place: u16| {
            let of_class = at(place).and_then(|at| self.has_objects.get(at));
            of_class.copied().unwrap_or(false)
        };
        // Objects are numbered anew in each class, as in Cityscapes.
        let mut counts = vec![0u16; self.of_class.len() + 1];
        let numbers: Vec<u16> = drawn
            .class_of_object
            .iter()
            .map(|place| {
                let count = counts.get_mut(usize::from(*place));
                count.map_or(0, |count| {
                    *count += 1;
                    *count - 1
                })
            })
            .collect();
        let pixels = drawn.classes.iter().zip(&drawn.objects);
        let level = |(place, object): (&u16, &u16)| {
            let number = at(*object).and_then(|at| numbers.get(at));
            match number.filter(|_| has_objects(*place)) {
                Some(number) => class(*place) * OBJECTS_PER_CLASS as u16 + number,
                None => class(*place),
            }
        };
        pixels.map(level).collect()
    }

    /// The text of the file of the classes.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a name that a line cannot hold.
    pub fn file(&self, names: &[&str]) -> Result<String> {
        let mut text = String::from("value,name\n");
        for (value, name) in self.of_class.iter().zip(names) {
            if name.trim() != *name || name.is_empty() || name.contains(['\n', '\r', '\t']) {
                return Err(Error::InvalidOption {
                    what: "class name that a line of classes.csv can hold",
                    value: name.escape_debug().to_string(),
                    expected: "a name that is not empty and has no tab or line break, and no blank at its ends".to_owned(),
                });
            }
            text.push_str(&format!("{value},{name}\n"));
        }
        Ok(text)
    }
}

/// Why classes cannot have their ids.
fn no_ids(
    twice: Option<&i64>,
    unfit: Option<(&ClassOfMap<'_>, std::ops::RangeInclusive<i64>)>,
) -> Error {
    let (value, expected) = match (twice, unfit) {
        (_, Some((class, range))) => (
            format!("{} of class '{}'", class.id, class.name),
            format!(
                "{} to {} for a class {} objects, because --background gives classes their ids",
                range.start(),
                range.end(),
                if class.has_objects { "with" } else { "without" }
            ),
        ),
        (id, None) => (
            id.map_or_else(String::new, |id| format!("{id} of two classes")),
            "different ids, because --background gives classes their ids".to_owned(),
        ),
    };
    Error::InvalidOption {
        what: "value in a label map",
        value,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(ids: &[i64], has_objects: bool) -> Vec<ClassOfMap<'static>> {
        let class = |id: &i64| ClassOfMap {
            id: *id,
            name: "x",
            has_objects,
        };
        ids.iter().map(class).collect()
    }

    #[test]
    fn classes_have_their_ids_if_these_fit() {
        let of = |ids: &[i64], objects| Values::of(&classes(ids, objects), None).unwrap().of_class;
        assert_eq!(of(&[7, 24], false), [7, 24]);
        assert_eq!(of(&[0, 24], false), [1, 2]);
        assert_eq!(of(&[7, 7], false), [1, 2]);
        assert_eq!(of(&[7, 90], true), [1, 2]);
        let many: Vec<i64> = (1..66).collect();
        assert!(Values::of(&classes(&many, true), None).is_err());
        let is_wide = |id| Values::of(&classes(&[id], false), None).unwrap().is_wide();
        assert!(!is_wide(254) && is_wide(255));
    }

    #[test]
    fn a_background_of_its_own_gives_classes_their_ids_or_says_why_not() {
        let of =
            |ids: &[i64], objects, background| Values::of(&classes(ids, objects), Some(background));
        let ids = of(&[0, 24], false, 0).unwrap();
        assert_eq!(
            (ids.of_class.as_slice(), ids.is_wide()),
            (&[0, 24][..], false)
        );
        assert!(!of(&[0, 18], false, 255).unwrap().is_wide());
        assert!(of(&[0, 18], false, 300).unwrap().is_wide());
        for (ids, objects, part) in [
            (
                &[7, 90][..],
                true,
                "90 of class 'x'' is not a value in a label map: expected 1 to 64 for a class with objects",
            ),
            (&[0, 2], true, "0 of class 'x'"),
            (&[-1, 2], false, "0 to 65534 for a class without objects"),
            (&[3, 3], false, "3 of two classes"),
        ] {
            let message = of(ids, objects, 0).err().unwrap().to_string();
            assert!(message.contains(part), "{message}");
        }
        // Stuff beside objects.
        let mut mixed = classes(&[7, 24], true);
        mixed[0].has_objects = false;
        assert_eq!(Values::of(&mixed, None).unwrap().of_class, [7, 24]);
        mixed[0].id = 1000;
        assert!(Values::of(&mixed, Some(0)).is_err());
    }
}
