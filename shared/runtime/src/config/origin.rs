//! A site, as browsers name it.

use std::str::FromStr;

use url::Url;

/// Scheme, host and port of a site, as a browser writes them into the header `Origin` (RFC 6454, section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// `https://portal.example.org`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be a scheme and a host such as https://portal.example.org, without a path";
        let url = Url::parse(text).map_err(|_| WRONG)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_anonymous = url.username().is_empty() && url.password().is_none();
        if matches!(url.scheme(), "http" | "https") && is_bare && is_anonymous {
            Ok(Self(url.origin().ascii_serialization()))
        } else {
            Err(WRONG)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        let origin = |text: &str| text.parse::<Origin>().ok().map(|origin| origin.0);
        assert_eq!(origin("https://Portal.example.org/").as_deref(), Some("https://portal.example.org"));
        assert_eq!(origin("https://portal.example.org:443").as_deref(), Some("https://portal.example.org"));
        assert_eq!(origin("http://localhost:3000").as_deref(), Some("http://localhost:3000"));
        for wrong in
            ["*", "portal.example.org", "https://a.example/path", "https://u@a.example", "ftp://a.example"]
        {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }
}
