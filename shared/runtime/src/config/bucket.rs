//! The settings about a bucket for rendered reports, instead of a folder.

use std::{net::IpAddr, str::FromStr};

use secrecy::SecretString;
use url::{Host, Url};

use super::Reader;

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    pub name: String,
    /// What all keys begin with.
    pub prefix: String,
    /// None: that of Amazon in `region`.
    pub endpoint: Option<Url>,
    pub region: String,
    pub credentials: BucketCredentials,
}

/// Who we are to the store.
#[derive(Debug, Clone)]
pub enum BucketCredentials {
    Keys {
        access_key_id: String,
        secret_access_key: SecretString,
    },
    /// The role that the machine was given. Its keys come from the machine's metadata service (EC2's, version 2) and change by themselves.
    Instance {
        metadata: MetadataService,
    },
}

/// Where a metadata service is: at an address, since whoever answers for a name could be somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataService {
    pub url: Url,
    pub address: IpAddr,
}

impl FromStr for MetadataService {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "must be http:// and an address, such as http://169.254.169.254";
        let url: Url = text.parse().map_err(|_| RULE)?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            _ => return Err(RULE),
        };
        if url.scheme() == "http" && url.path() == "/" { Ok(Self { url, address }) } else { Err(RULE) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CredentialsOf {
    Keys,
    Instance,
}

impl FromStr for CredentialsOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "keys" => Ok(Self::Keys),
            "instance" => Ok(Self::Instance),
            _ => Err("must be keys or instance"),
        }
    }
}

impl BucketSettings {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let name: Option<String> = reader.optional("S3_BUCKET");
        let endpoint: Option<Url> = reader.optional("S3_ENDPOINT");
        let region = reader.required("S3_REGION");
        let prefix = reader.optional("S3_PREFIX").unwrap_or_default();
        let (key, secret) = (reader.optional("S3_ACCESS_KEY_ID"), reader.secret("S3_SECRET_ACCESS_KEY"));
        let (from, metadata) = (reader.required("S3_CREDENTIALS"), reader.required("S3_METADATA_ENDPOINT"));
        let Some(name) = name else {
            if endpoint.is_some() || key.is_some() || secret.is_some() {
                reader.problems.push(
                    "S3_ENDPOINT and the S3_ keys are of no use without a bucket: set S3_BUCKET, or remove them".into(),
                );
            }
            return None;
        };
        if let Some(endpoint) = endpoint.as_ref().filter(|url| !matches!(url.scheme(), "http" | "https")) {
            reader.problems.push(format!(
                "S3_ENDPOINT={endpoint} is not the address of a store: write https://host or http://host:port"
            ));
        }
        let credentials = match (from, key, secret) {
            (CredentialsOf::Instance, None, None) => BucketCredentials::Instance { metadata },
            (CredentialsOf::Instance, ..) => {
                reader.problems.push(
                    "S3_CREDENTIALS=instance takes the keys of the machine's role: remove S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or S3_CREDENTIALS"
                        .into(),
                );
                return None;
            }
            (CredentialsOf::Keys, Some(access_key_id), Some(secret_access_key)) => {
                BucketCredentials::Keys { access_key_id, secret_access_key }
            }
            (CredentialsOf::Keys, ..) => {
                reader.problems.push(format!(
                    "S3_BUCKET={name} needs credentials: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (best as S3_SECRET_ACCESS_KEY_FILE), or \
                     S3_CREDENTIALS=instance on a machine that was given a role"
                ));
                return None;
            }
        };
        Some(Self { name, prefix, endpoint, region, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::BucketCredentials;
    use crate::config::{Config, Problems};

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_bucket_needs_a_name_and_credentials() {
        assert!(load(&[]).expect("the defaults are sound").bucket.is_none());
        let complete = [("S3_BUCKET", "b"), ("S3_ACCESS_KEY_ID", "k"), ("S3_SECRET_ACCESS_KEY", "hunter2")];
        let config = load(&complete).expect("sound");
        assert_eq!(config.bucket.as_ref().map(|bucket| bucket.region.as_str()), Some("us-east-1"));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(load(&complete[..2]).expect_err("no secret").to_string().contains("S3_SECRET_ACCESS_KEY"));
        assert!(load(&complete[1..]).expect_err("no bucket").to_string().contains("S3_BUCKET"));
        let elsewhere = [&complete[..], &[("S3_ENDPOINT", "ftp://store")]].concat();
        assert!(load(&elsewhere).expect_err("no such scheme").to_string().contains("S3_ENDPOINT=ftp"));
    }
    #[test]
    fn a_machine_with_a_role_needs_no_keys() {
        let role = [("S3_BUCKET", "b"), ("S3_CREDENTIALS", "instance")];
        let bucket = load(&role).expect("sound").bucket.expect("a bucket");
        let BucketCredentials::Instance { metadata } = bucket.credentials else { panic!("keys") };
        assert_eq!(metadata.address, std::net::IpAddr::from([169, 254, 169, 254]));
        let told = |further: &[(&str, &str)], about: &str| {
            let problems = load(&[&role[..], further].concat()).expect_err(about).to_string();
            assert!(problems.contains(about), "{problems}");
        };
        told(&[("S3_ACCESS_KEY_ID", "k")], "S3_CREDENTIALS=instance takes");
        for elsewhere in
            ["http://metadata.internal", "https://169.254.169.254", "http://169.254.169.254/latest"]
        {
            told(&[("S3_METADATA_ENDPOINT", elsewhere)], "S3_METADATA_ENDPOINT=");
        }
        told(&[("S3_CREDENTIALS", "role")], "must be keys or instance");
    }
}
