//! Looking settings up in the environment, the file and the catalogue.

use std::{collections::BTreeMap, fmt, str::FromStr};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Config, Problems,
    catalogue::{known, suggestion},
};

/// Looks settings up and remembers what was wrong with them.
pub(super) struct Reader {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
}

impl Reader {
    pub(super) fn new(environment: BTreeMap<String, String>) -> Self {
        let mut reader = Self { environment, file: BTreeMap::new(), problems: Vec::new() };
        if let Some(path) = reader.environment.get("PLIMSOLL_CONFIG").filter(|path| !path.is_empty()).cloned()
        {
            match std::fs::read_to_string(&path) {
                Ok(text) => reader.read_file(&path, &text),
                Err(error) => reader.problems.push(format!(
                    "PLIMSOLL_CONFIG={path} cannot be read ({error}): name a readable file or remove the setting"
                )),
            }
        }
        reader.refuse_misspelt_names();
        reader
    }

    fn read_file(&mut self, path: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((name, _)) if known(name.trim()).is_none() => self.problems.push(format!(
                    "{path}:{}: `{}` is not a setting{}",
                    number + 1,
                    name.trim(),
                    suggestion(name.trim())
                )),
                Some((name, value)) => {
                    let value = value.trim();
                    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                    self.file.insert(name.trim().to_owned(), value.to_owned());
                }
                None => self.problems.push(format!("{path}:{}: a line must read NAME=value", number + 1)),
            }
        }
    }

    /// A misspelt name in the environment would be silently without effect. Only our own prefixes can be judged.
    fn refuse_misspelt_names(&mut self) {
        for name in self.environment.keys() {
            let ours = [
                "PLIMSOLL_",
                "S3_",
                "SEAL_",
                "SECRETS_",
                "TSA_",
                "SMTP_",
                "MAIL_",
                "WORKER_",
                "RELAY_",
                "OIDC_",
                "LDAP_",
                "EGRESS_",
                "JOB_LEASE",
            ];
            // What the command line asks a server with, in a shell that may also start one.
            let of_the_client = ["PLIMSOLL_URL", "PLIMSOLL_TOKEN"].contains(&name.as_str());
            if ours.iter().any(|prefix| name.starts_with(prefix)) && known(name).is_none() && !of_the_client {
                self.problems.push(format!("{name} is not a setting{}", suggestion(name)));
            }
        }
    }

    pub(super) fn raw(&mut self, name: &'static str) -> Option<String> {
        let setting = known(name).expect("only settings of the catalogue are read");
        let given =
            |map: &BTreeMap<String, String>, key: &str| map.get(key).filter(|v| !v.is_empty()).cloned();
        if let Some(value) = given(&self.environment, name) {
            return Some(value);
        }
        let file_key = format!("{name}_FILE");
        if let Some(path) = given(&self.environment, &file_key).or_else(|| given(&self.file, &file_key)) {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problems
                        .push(format!("{file_key}={path} cannot be read ({error}): name a readable file"));
                    return None;
                }
            }
        }
        given(&self.file, name).or_else(|| (!setting.default.is_empty()).then(|| setting.default.to_owned()))
    }

    /// Whether `name` itself is set, in the environment or in the file.
    pub(super) fn is_given(&self, name: &str) -> bool {
        [&self.environment, &self.file].iter().any(|map| map.get(name).is_some_and(|value| !value.is_empty()))
    }

    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.raw(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let shown = if known(name).is_some_and(|setting| setting.secret) { "***" } else { &text };
                self.problems.push(format!("{name}={shown} cannot be used: {error}{}", default_hint(name)));
                None
            }
        }
    }

    pub(super) fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        self.parsed(name)
    }

    /// A setting with a default. When it cannot be parsed the problem is noted and the default stands in until [`Self::finish`].
    pub(super) fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> T {
        self.parsed(name).unwrap_or_else(|| {
            let default = known(name).map_or("", |setting| setting.default);
            default.parse().unwrap_or_else(|error| panic!("the default of {name} does not parse: {error}"))
        })
    }

    pub(super) fn within<T>(&mut self, name: &'static str, least: T, most: T) -> T
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display + Copy,
    {
        let value: T = self.required(name);
        if value < least || value > most {
            self.problems
                .push(format!("{name}={value} is out of range: give a number from {least} to {most}"));
        }
        value
    }

    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        let text: String = self.required(name);
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    }

    pub(super) fn parsed_list<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Vec<T> {
        let text = self.raw(name).unwrap_or_default();
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut values = Vec::new();
        for word in words {
            match word.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.problems.push(format!("{name}: `{word}` cannot be used: {error}")),
            }
        }
        values
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    pub(super) fn database_url(&mut self, name: &'static str) -> Option<SecretString> {
        self.url_with_scheme(name, &["postgres", "postgresql"], "postgres://user:password@host:5432/plimsoll")
    }

    pub(super) fn redis_url(&mut self, name: &'static str) -> Option<SecretString> {
        self.url_with_scheme(
            name,
            &["redis", "rediss", "redis+unix", "unix"],
            "redis://:password@host:6379/0",
        )
    }

    pub(super) fn url_with_scheme(
        &mut self,
        name: &'static str,
        schemes: &[&str],
        example: &str,
    ) -> Option<SecretString> {
        let value = self.secret(name)?;
        let scheme = value.expose_secret().split_once("://").map(|(scheme, _)| scheme.to_owned());
        if scheme.is_none_or(|scheme| !schemes.contains(&scheme.as_str())) {
            self.problems.push(format!("{name}=*** is not an address of the form {example}"));
        }
        Some(value)
    }

    pub(super) fn finish(self, config: Config) -> Result<Config, Problems> {
        if self.problems.is_empty() { Ok(config) } else { Err(Problems(self.problems)) }
    }
}

fn default_hint(name: &str) -> String {
    match known(name).map(|setting| setting.default) {
        Some(default) if !default.is_empty() => format!("; the default is {default}"),
        _ => String::new(),
    }
}
