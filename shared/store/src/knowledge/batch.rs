//! Records of a feed turned into rows for the staging tables.
//!
//! Needs no database, so that it can be done on the thread that reads the feed. Every row carries a digest of what it says: for an
//! advisory that includes its ranges with their keys, so that a better understanding of versions counts as a change.

use chrono::{DateTime, Datelike, Utc};
use domain::{
    advisory::{Advisory, Affected, Bound, Cve, Epss, Kev, Record},
    source::FeedKind,
};

use crate::copy::{Field, Rows};

/// Longest platform, id of a problem and id of an advisory, in bytes. An index entry holds some 2,700.
const LONGEST_ID: usize = 256;
/// Longest package name, in bytes.
const LONGEST_NAME: usize = 1024;
/// Most ranges of one advisory: ten times what a kernel's notice needs, and too few to drown the table.
const MOST_RANGES: usize = 500_000;

/// What `store` does not know about packages and versions, told by whoever does.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// A version as bytes that sort as its platform sorts versions; `None` where it is not understood.
    pub key: fn(platform: &str, version: &str) -> Option<Vec<u8>>,
    /// A package's name as its platform compares names.
    pub name: fn(platform: &str, name: &str) -> String,
    /// How near the platform's advisories are to the package: 1 for a distribution, 2 for a language ecosystem.
    pub tier: fn(platform: &str) -> i16,
}

/// Rows for the staging tables.
#[derive(Debug)]
pub struct Batch {
    feed: FeedKind,
    rules: Rules,
    pub(super) advisories: Rows,
    pub(super) ranges: Rows,
    pub(super) cves: Rows,
    pub(super) epss: Rows,
    pub(super) kev: Rows,
}

impl Batch {
    /// An empty batch for records of `feed`.
    #[must_use]
    pub fn new(feed: FeedKind, rules: Rules) -> Self {
        Self {
            feed,
            rules,
            advisories: Rows::default(),
            ranges: Rows::default(),
            cves: Rows::default(),
            epss: Rows::default(),
            kev: Rows::default(),
        }
    }

    /// Bytes collected.
    #[must_use]
    pub fn len(&self) -> usize {
        [&self.advisories, &self.ranges, &self.cves, &self.epss, &self.kev].map(Rows::len).iter().sum()
    }

    /// True when nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch so far; what comes next goes into a new one.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.feed, self.rules))
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Why the record cannot be kept, in words. The batch is as it was.
    pub fn push(&mut self, record: &Record) -> Result<(), String> {
        use FeedKind::{AlpineSecdb, CisaKev, DebianTracker, Nvd, Osv};
        match (self.feed, record) {
            (DebianTracker | AlpineSecdb | Osv, Record::Advisory(advisory)) => self.advisory(advisory),
            (Nvd, Record::Cve(cve)) => self.cve(cve),
            (FeedKind::Epss, Record::Epss(epss)) => self.epss(epss),
            (CisaKev, Record::Kev(kev)) => self.kev(kev),
            // All by name, so that a new kind of feed is not forgotten above.
            (DebianTracker | AlpineSecdb | Osv | Nvd | FeedKind::Epss | CisaKev, _) => {
                Err(format!("not a record of a {} feed", self.feed))
            }
        }
    }

    fn advisory(&mut self, advisory: &Advisory) -> Result<(), String> {
        bounded("its id", &advisory.external_id, LONGEST_ID)?;
        [advisory.published, advisory.modified, advisory.withdrawn].into_iter().try_for_each(plausible)?;
        let ranges = self.ranges_of(advisory)?;
        // In one order and without repetitions, so that a feed which merely lists them otherwise has not changed.
        let mut lines: Vec<&str> = ranges.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        self.advisories.push_with_digest(
            &[
                (&advisory.external_id).into(),
                advisory.cves.as_slice().into(),
                advisory.aliases.as_slice().into(),
                advisory.title.as_deref().into(),
                advisory.summary.as_deref().into(),
                advisory.severity.map(|severity| severity.as_str()).into(),
                advisory.cvss_score.into(),
                advisory.cvss_vector.as_deref().into(),
                advisory.published.into(),
                advisory.modified.into(),
                advisory.withdrawn.into(),
                advisory.url.as_deref().into(),
                advisory.references.as_slice().into(),
                advisory.informational.into(),
            ],
            lines.iter().copied(),
        );
        self.ranges.append(lines.into_iter());
        Ok(())
    }

    /// One row for each affected entry and each problem that it is about.
    fn ranges_of(&self, advisory: &Advisory) -> Result<Rows, String> {
        let own_name = [problem_name(advisory).to_owned()];
        let mut rows = Rows::default();
        let mut count = 0;
        for affected in &advisory.affected {
            bounded("a platform", &affected.platform, LONGEST_ID)?;
            let package = (self.rules.name)(&affected.platform, &affected.package);
            bounded("a package's name", &package, LONGEST_NAME)?;
            let problems = [&affected.cves, &advisory.cves].into_iter().find(|cves| !cves.is_empty());
            let problems = problems.map_or(own_name.as_slice(), Vec::as_slice);
            count += problems.len();
            if count > MOST_RANGES {
                return Err(format!("it has more than {MOST_RANGES} ranges"));
            }
            for problem in problems {
                bounded("a CVE", problem, LONGEST_ID)?;
                self.push_range(&mut rows, [&advisory.external_id, &package, problem], affected);
            }
        }
        Ok(rows)
    }

    fn push_range(&self, rows: &mut Rows, [advisory, package, problem]: [&str; 3], affected: &Affected) {
        let key = |version: &str| (self.rules.key)(&affected.platform, version);
        let (bound, bound_version) = match &affected.bound {
            Bound::Unbounded => ("unbounded", None),
            Bound::Fixed(version) => ("fixed", Some(version)),
            Bound::LastAffected(version) => ("last_affected", Some(version)),
            Bound::Exactly(version) => ("exactly", Some(version)),
        };
        let introduced_key = affected.introduced.as_deref().and_then(key);
        let bound_key = bound_version.map(String::as_str).and_then(key);
        rows.push(&[
            advisory.into(),
            (&affected.platform).into(),
            package.into(),
            problem.into(),
            affected.state.as_str().into(),
            i64::from((self.rules.tier)(&affected.platform)).into(),
            affected.introduced.as_deref().into(),
            introduced_key.as_deref().into(),
            bound.into(),
            bound_version.map(String::as_str).into(),
            bound_key.as_deref().into(),
            affected.note.as_deref().into(),
        ]);
    }

    fn cve(&mut self, cve: &Cve) -> Result<(), String> {
        bounded("its id", &cve.cve_id, LONGEST_ID)?;
        [cve.published, cve.modified].into_iter().try_for_each(plausible)?;
        let row: [Field<'_>; 13] = [
            (&cve.cve_id).into(),
            cve.description.as_deref().into(),
            cve.published.into(),
            cve.modified.into(),
            cve.nvd_status.as_deref().into(),
            cve.cvss_v2_score.into(),
            cve.cvss_v31_score.into(),
            cve.cvss_v31_vector.as_deref().into(),
            cve.cvss_v4_score.into(),
            cve.cvss_v4_vector.as_deref().into(),
            cve.cwes.as_slice().into(),
            cve.references.as_slice().into(),
            cve.has_exploit.into(),
        ];
        self.cves.push_with_digest(&row, std::iter::empty());
        Ok(())
    }

    fn epss(&mut self, epss: &Epss) -> Result<(), String> {
        bounded("its id", &epss.cve_id, LONGEST_ID)?;
        let is_share = |number: f32| (0.0..=1.0).contains(&number);
        if !is_share(epss.score) || !is_share(epss.percentile) {
            return Err(format!("score {} or percentile {} is not from 0 to 1", epss.score, epss.percentile));
        }
        self.epss.push(&[(&epss.cve_id).into(), epss.score.into(), epss.percentile.into()]);
        Ok(())
    }

    fn kev(&mut self, kev: &Kev) -> Result<(), String> {
        bounded("its id", &kev.cve_id, LONGEST_ID)?;
        let row: [Field<'_>; 10] = [
            (&kev.cve_id).into(),
            (&kev.vendor).into(),
            (&kev.product).into(),
            (&kev.name).into(),
            (&kev.description).into(),
            (&kev.required_action).into(),
            kev.date_added.into(),
            kev.due_date.into(),
            kev.ransomware.into(),
            (&kev.notes).into(),
        ];
        self.kev.push_with_digest(&row, std::iter::empty());
        Ok(())
    }
}

/// What a problem without a CVE is called. Several databases of one ecosystem may describe it: where GitHub's is among them, its id
/// is the one that all share; otherwise the record's own.
fn problem_name(advisory: &Advisory) -> &str {
    let ids = std::iter::once(&advisory.external_id).chain(&advisory.aliases);
    let shared = ids.filter(|id| id.starts_with("GHSA-") && id.len() <= LONGEST_ID).min();
    shared.unwrap_or(&advisory.external_id)
}

fn bounded(what: &str, text: &str, longest: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > longest {
        return Err(format!("{what} has {} bytes, it may have 1 to {longest}", text.len()));
    }
    Ok(())
}

/// Postgres knows no year 0, and no feed has a reason to.
fn plausible(time: Option<DateTime<Utc>>) -> Result<(), String> {
    match time {
        Some(time) if !(1..=9999).contains(&time.year()) => Err(format!("{time} is no plausible time")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use domain::advisory::State;

    use super::*;

    const RULES: Rules = Rules {
        key: |_, version| version.parse::<u8>().ok().map(|number| vec![number]),
        name: |_, name| name.to_lowercase(),
        tier: |_| 2,
    };

    fn affected(package: &str, fixed: &str) -> Affected {
        Affected {
            platform: "npm".into(),
            package: package.into(),
            introduced: Some("1".into()),
            bound: Bound::Fixed(fixed.into()),
            state: State::Affected,
            note: None,
            cves: Vec::new(),
        }
    }

    fn advisory(affected: Vec<Affected>) -> Advisory {
        Advisory { external_id: "GHSA-x".into(), affected, ..Advisory::default() }
    }

    fn rows(advisory: Advisory) -> (String, Vec<String>) {
        let mut batch = Batch::new(FeedKind::Osv, RULES);
        batch.push(&Record::Advisory(advisory)).expect("a sound advisory");
        let first = batch.advisories.lines().next().expect("one row").to_owned();
        (first, batch.ranges.lines().map(str::to_owned).collect())
    }

    #[test]
    fn a_range_is_written_with_its_keys_and_the_name_that_is_compared() {
        let (_, ranges) = rows(advisory(vec![affected("Left-Pad", "9x")]));
        let expected = "GHSA-x\tnpm\tleft-pad\tGHSA-x\taffected\t2\t1\t\\\\x01\tfixed\t9x\t\\N\t\\N\n";
        assert_eq!(ranges, [expected]);
    }

    #[test]
    fn each_cve_gets_a_range_of_its_own_and_an_entry_may_name_its_own() {
        let narrow = Affected { cves: vec!["CVE-2".into()], ..affected("b", "9") };
        let cves = vec!["CVE-1".to_owned(), "CVE-2".to_owned()];
        let (_, ranges) = rows(Advisory { cves, ..advisory(vec![affected("a", "9"), narrow]) });
        let named: Vec<_> = ranges
            .iter()
            .map(|line| line.split('\t').skip(2).take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(named, ["a CVE-1", "a CVE-2", "b CVE-2"]);
    }

    #[test]
    fn the_order_of_ranges_is_no_change_but_their_content_is() {
        let one = rows(advisory(vec![affected("a", "2"), affected("b", "3")])).0;
        let other_order = rows(advisory(vec![affected("b", "3"), affected("a", "2"), affected("a", "2")])).0;
        let other_fix = rows(advisory(vec![affected("a", "2"), affected("b", "4")])).0;
        assert_eq!(one, other_order);
        assert_ne!(one, other_fix);
    }

    #[test]
    fn databases_that_share_a_github_id_name_a_problem_alike() {
        let rustsec = Advisory {
            external_id: "RUSTSEC-2024-0001".into(),
            aliases: vec!["GHSA-x".into()],
            ..advisory(vec![])
        };
        assert_eq!(problem_name(&rustsec), "GHSA-x");
        assert_eq!(problem_name(&advisory(vec![])), "GHSA-x");
        assert_eq!(problem_name(&Advisory { aliases: vec![], ..rustsec }), "RUSTSEC-2024-0001");
    }

    #[test]
    fn a_record_that_no_table_can_hold_is_rejected_and_leaves_no_rows() {
        let mut batch = Batch::new(FeedKind::Osv, RULES);
        let endless = affected(&"x".repeat(2000), "2");
        let refused = batch.push(&Record::Advisory(advisory(vec![affected("a", "2"), endless])));
        assert_eq!(refused, Err("a package's name has 2000 bytes, it may have 1 to 1024".into()));
        let epss = Record::Epss(Epss { cve_id: "CVE-1".into(), score: 0.5, percentile: 0.5 });
        assert_eq!(batch.push(&epss), Err("not a record of a osv feed".into()));
        assert!(batch.is_empty());
    }
}
