//! The settings about who may come in: lives of sign-ins, limits, trusted proxies, LDAP and OpenID Connect.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;
use url::{Host, Url};

use super::Reader;

/// How long what a sign-in gives is good for.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    pub access_token: Duration,
    pub refresh_token: Duration,
    /// However often it is refreshed.
    pub session: Duration,
    /// Of a key that signs access tokens, until the next one signs.
    pub signing_key: Duration,
}

impl Lifetimes {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let days = |days: u64| Duration::from_secs(86_400 * days);
        Self {
            access_token: Duration::from_secs(60 * reader.within::<u64>("ACCESS_TOKEN_MINUTES", 1, 1440)),
            refresh_token: days(reader.within("REFRESH_TOKEN_DAYS", 1, 365)),
            session: days(reader.within("SESSION_DAYS", 1, 365)),
            signing_key: days(reader.within("SIGNING_KEY_DAYS", 1, 365)),
        }
    }
}

/// How much of something is allowed in a minute.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Sign-ins and set-ups of one address.
    pub sign_ins: u32,
    /// Writing requests of one person or key.
    pub writes: u32,
    /// Exports of one person or key.
    pub exports: u32,
}

impl Quotas {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            sign_ins: reader.within("SIGN_INS_PER_MINUTE", 1, 10_000),
            writes: reader.within("WRITES_PER_MINUTE", 1, 1_000_000),
            exports: reader.within("EXPORTS_PER_MINUTE", 1, 1_000_000),
        }
    }
}

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// This machine, RFC 1122, section 3.2.1.3.
    pub const LOOPBACK: Self = Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 };

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u32::from(ours) ^ u32::from(theirs)).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (u128::from(ours) ^ u128::from(theirs)).leading_zeros(),
            _ => return false,
        };
        shared >= self.bits
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be an address such as 10.0.0.7 or a network such as 10.0.0.0/8";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| WRONG)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match bits.unwrap_or(most) {
            bits if bits <= most => Ok(Self { address, bits }),
            _ => Err(WRONG),
        }
    }
}

/// Which roles groups give; a group is told apart by its name or DN, in any case of its letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRoles {
    pub admin: Option<String>,
    pub analyst: Option<String>,
    /// When it is named, nobody who is in none of the three comes in.
    pub read_only: Option<String>,
}

/// A directory that people may sign in with.
#[derive(Debug, Clone)]
pub struct Ldap {
    /// `ldaps://`, or `ldap://` with StartTLS.
    pub url: Url,
    pub starttls: bool,
    /// Authorities that its certificate is checked against, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// Who searches; nobody in particular when there is none.
    pub bind_dn: Option<String>,
    pub bind_password: Option<SecretString>,
    pub base_dn: String,
    /// With `{username}` where the escaped name goes.
    pub user_filter: String,
    pub id_attribute: String,
    pub username_attribute: String,
    pub email_attribute: String,
    /// Where groups are searched; without it the person's `memberOf` counts.
    pub group_base_dn: Option<String>,
    /// With `{dn}` where the person's escaped DN goes.
    pub group_filter: String,
    pub roles: GroupRoles,
    pub organization: Option<String>,
}

impl Ldap {
    /// `None` without `LDAP_URL`.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let url: Option<Url> = reader.optional("LDAP_URL");
        let ldap = Self {
            starttls: reader.required("LDAP_STARTTLS"),
            ca_file: reader.optional("LDAP_CA_FILE"),
            bind_dn: reader.optional("LDAP_BIND_DN"),
            bind_password: reader.secret("LDAP_BIND_PASSWORD"),
            base_dn: reader.optional("LDAP_BASE_DN").unwrap_or_default(),
            user_filter: reader.required("LDAP_USER_FILTER"),
            id_attribute: reader.required("LDAP_ID_ATTRIBUTE"),
            username_attribute: reader.required("LDAP_USERNAME_ATTRIBUTE"),
            email_attribute: reader.required("LDAP_EMAIL_ATTRIBUTE"),
            group_base_dn: reader.optional("LDAP_GROUP_BASE_DN"),
            group_filter: reader.required("LDAP_GROUP_FILTER"),
            roles: GroupRoles {
                admin: reader.optional("LDAP_ADMIN_GROUP"),
                analyst: reader.optional("LDAP_ANALYST_GROUP"),
                read_only: reader.optional("LDAP_READ_ONLY_GROUP"),
            },
            organization: reader.optional("LDAP_ORGANIZATION"),
            url: url?,
        };
        ldap.problems().into_iter().for_each(|problem| reader.problems.push(problem));
        Some(ldap)
    }

    fn problems(&self) -> Vec<String> {
        let (url, mut problems) = (&self.url, Vec::new());
        let mut require = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let plain = url.scheme() == "ldap" && !self.starttls;
        require(
            matches!(url.scheme(), "ldap" | "ldaps") && url.host().is_some(),
            format!("LDAP_URL={url} is not an address of the form ldaps://host:636"),
        );
        require(
            !plain || is_loopback(url),
            format!(
                "LDAP_STARTTLS=false would send passwords to {url} in the clear: use StartTLS or ldaps://"
            ),
        );
        require(
            !self.base_dn.is_empty(),
            "LDAP_BASE_DN is missing: name where people are searched, such as ou=people,dc=example,dc=org"
                .into(),
        );
        require(
            self.bind_dn.is_some() == self.bind_password.is_some(),
            "LDAP_BIND_DN and LDAP_BIND_PASSWORD belong together: set both or neither".into(),
        );
        for (name, filter, variable) in [
            ("LDAP_USER_FILTER", &self.user_filter, "{username}"),
            ("LDAP_GROUP_FILTER", &self.group_filter, "{dn}"),
        ] {
            require(
                filter.contains(variable) && filter.starts_with('(') && filter.ends_with(')'),
                format!("{name}={filter} must be a filter in parentheses with {variable} in it"),
            );
        }
        problems
    }
}

/// An OpenID provider that people may sign in with.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// As the provider writes it, to the letter.
    pub issuer: String,
    pub client_id: String,
    /// None for a client that proves itself by PKCE alone.
    pub client_secret: Option<SecretString>,
    /// The page of ours, or of another front end, that people come back to.
    pub redirect_url: Option<Url>,
    pub scopes: String,
    pub provider_name: String,
    pub groups_claim: String,
    pub roles: GroupRoles,
    pub organization: Option<String>,
}

impl Oidc {
    /// `None` without `OIDC_ISSUER`.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let issuer: Option<Url> = reader.optional("OIDC_ISSUER");
        let text: Option<String> = reader.optional("OIDC_ISSUER");
        let client_id: Option<String> = reader.optional("OIDC_CLIENT_ID");
        let name: Option<String> = reader.optional("OIDC_PROVIDER_NAME");
        let (client_secret, redirect_url) =
            (reader.secret("OIDC_CLIENT_SECRET"), reader.optional("OIDC_REDIRECT_URL"));
        let (scopes, groups_claim) = (reader.required("OIDC_SCOPES"), reader.required("OIDC_GROUPS_CLAIM"));
        let roles = GroupRoles {
            admin: reader.optional("OIDC_ADMIN_GROUP"),
            analyst: reader.optional("OIDC_ANALYST_GROUP"),
            read_only: reader.optional("OIDC_READ_ONLY_GROUP"),
        };
        let organization = reader.optional("OIDC_ORGANIZATION");
        let (issuer_url, issuer) = (issuer?, text?);
        if client_id.is_none() {
            reader.problems.push("OIDC_CLIENT_ID is missing: OIDC_ISSUER is set, so name the client that the provider knows us as".into());
        }
        if issuer_url.scheme() != "https" && !is_loopback(&issuer_url) {
            reader.problems.push(format!("OIDC_ISSUER={issuer} must be an https address"));
        }
        Some(Self {
            client_id: client_id.unwrap_or_default(),
            client_secret,
            redirect_url,
            scopes,
            provider_name: name.unwrap_or_else(|| issuer_url.host_str().unwrap_or_default().to_owned()),
            groups_claim,
            roles,
            organization,
            issuer,
        })
    }
}

/// What goes no further than this machine needs no encryption.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // Schemes that the URL standard does not know have opaque hosts.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        None => false,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems};
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let holds = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(holds("10.0.0.0/8", "10.200.3.4") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.7", "10.0.0.7") && holds("10.0.0.7", "::ffff:10.0.0.7"));
        assert!(!holds("10.0.0.7", "10.0.0.8") && !holds("10.0.0.0/8", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:9::1") && holds("0.0.0.0/0", "192.0.2.1"));
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_go_to_a_directory_over_tls_only() {
        let ldap = |url: &str, starttls: &str| {
            load(&[("LDAP_URL", url), ("LDAP_STARTTLS", starttls), ("LDAP_BASE_DN", "dc=example")])
        };
        assert!(ldap("ldaps://ldap.example.org", "false").is_ok());
        assert!(ldap("ldap://ldap.example.org", "true").is_ok());
        assert!(ldap("ldap://127.0.0.1:3890", "false").is_ok());
        let refused = ldap("ldap://ldap.example.org", "false").expect_err("in the clear");
        assert!(refused.to_string().contains("in the clear"), "{refused}");
        assert!(ldap("https://ldap.example.org", "true").is_err());
    }

    #[test]
    fn a_provider_needs_a_client_and_tls() {
        assert!(load(&[("OIDC_ISSUER", "https://id.example.org/realms/corp")]).is_err());
        assert!(load(&[("OIDC_ISSUER", "http://id.example.org"), ("OIDC_CLIENT_ID", "plimsoll")]).is_err());
        let config = load(&[
            ("OIDC_ISSUER", "https://id.example.org/realms/corp"),
            ("OIDC_CLIENT_ID", "plimsoll"),
            ("OIDC_CLIENT_SECRET", "hunter2"),
        ])
        .expect("sound");
        assert_eq!(config.oidc.as_ref().map(|oidc| oidc.provider_name.as_str()), Some("id.example.org"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
