//! What a classification asks of a page: the words of its banner, and what must stand on the cover besides.
//!
//! Controlled Unclassified Information: 32 CFR 2002.20, the CUI Marking Handbook and DoDI 5200.48: the banner in bold
//! capitals at the head and foot of every page, and a designation indicator on the first. For Official Use Only: DoDM
//! 5200.01 volume 4, spelled out on the cover and every page. Anything else is set as it was asked for.

/// A classification taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marking {
    Cui(Cui),
    /// For Official Use Only.
    Fouo,
    Other(String),
}

/// The parts of a CUI banner: `CUI//SP-PRVCY/SP-CTI//NOFORN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cui {
    /// Category markings, `SP-` for those that a law sets further rules for.
    pub categories: Vec<String>,
    /// Limited dissemination controls: `NOFORN`, `FED ONLY`.
    pub dissemination: Vec<String>,
}

/// Limited dissemination controls (NARA CUI Registry). What stands in the second place and is none of them is a category.
const DISSEMINATION: [&str; 9] = [
    "NOFORN",
    "FED ONLY",
    "FEDCON",
    "NOCON",
    "DL ONLY",
    "DISPLAY ONLY",
    "ATTORNEY-CLIENT",
    "ATTORNEY-WP",
    "DELIBERATIVE",
];

impl Marking {
    /// Reads a classification as people write it; none when it is blank.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let upper = text.to_uppercase();
        let mut parts = upper.split("//").map(str::trim);
        Some(match parts.next().unwrap_or_default() {
            "" => return None,
            "CUI" | "CONTROLLED" | "CONTROLLED UNCLASSIFIED INFORMATION" => Self::Cui(Cui::parse(parts)),
            "FOUO" | "U" | "UNCLASSIFIED" | "FOR OFFICIAL USE ONLY" if is_fouo(&upper) => Self::Fouo,
            _ => Self::Other(text.to_owned()),
        })
    }

    /// The words at the head and foot of every page.
    #[must_use]
    pub fn banner(&self) -> String {
        match self {
            Self::Cui(cui) => {
                let parts = [&cui.categories, &cui.dissemination];
                let parts = parts.into_iter().filter(|part| !part.is_empty()).map(|part| part.join("/"));
                std::iter::once("CUI".to_owned()).chain(parts).collect::<Vec<_>>().join("//")
            }
            Self::Fouo => "FOR OFFICIAL USE ONLY".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }
}

fn is_fouo(upper: &str) -> bool {
    matches!(
        upper.replace(' ', "").as_str(),
        "FOUO" | "FOROFFICIALUSEONLY" | "U//FOUO" | "UNCLASSIFIED//FOUO" | "UNCLASSIFIED//FOROFFICIALUSEONLY"
    )
}

impl Cui {
    fn parse<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut cui = Self::default();
        for word in parts.flat_map(|part| part.split('/')).map(str::trim).filter(|word| !word.is_empty()) {
            if DISSEMINATION.contains(&word) || word.starts_with("REL TO ") {
                cui.dissemination.push(word.to_owned());
            } else {
                cui.categories.push(word.to_owned());
            }
        }
        cui
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cui_banner_keeps_categories_before_dissemination() {
        let marking = Marking::parse(" cui//noforn//sp-prvcy/CTI ").unwrap();
        assert_eq!(marking.banner(), "CUI//SP-PRVCY/CTI//NOFORN");
        assert_eq!(Marking::parse("Controlled"), Some(Marking::Cui(Cui::default())));
    }

    #[test]
    fn fouo_is_spelled_out_and_other_words_stay_as_they_are() {
        for text in ["FOUO", "fouo", "U//FOUO", "For Official Use Only"] {
            assert_eq!(Marking::parse(text).unwrap().banner(), "FOR OFFICIAL USE ONLY", "{text}");
        }
        assert_eq!(Marking::parse("Confidential").unwrap().banner(), "Confidential");
        assert_eq!(Marking::parse("UNCLASSIFIED").unwrap().banner(), "UNCLASSIFIED");
        assert_eq!(Marking::parse("  "), None);
    }
}
