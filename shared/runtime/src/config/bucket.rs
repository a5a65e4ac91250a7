//! The settings about a bucket for rendered reports, instead of a folder.

use secrecy::SecretString;
use url::Url;

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
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

impl BucketSettings {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let name: Option<String> = reader.optional("S3_BUCKET");
        let endpoint: Option<Url> = reader.optional("S3_ENDPOINT");
        let region = reader.required("S3_REGION");
        let prefix = reader.optional("S3_PREFIX").unwrap_or_default();
        let (key, secret) = (reader.optional("S3_ACCESS_KEY_ID"), reader.secret("S3_SECRET_ACCESS_KEY"));
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
        let (Some(access_key_id), Some(secret_access_key)) = (key, secret) else {
            reader.problems.push(format!(
                "S3_BUCKET={name} needs credentials: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (best as S3_SECRET_ACCESS_KEY_FILE)"
            ));
            return None;
        };
        Some(Self { name, prefix, endpoint, region, access_key_id, secret_access_key })
    }
}

#[cfg(test)]
mod tests {
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
}
