//! One number for how urgent a vulnerability is, from what several sources say about it.

use domain::Severity;

/// What is known about a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Inputs {
    /// CVSS base score, 0.0 to 10.0.
    pub cvss: Option<f32>,
    /// A source's rating in words; counts only where there is no `cvss`, as the middle of its band.
    pub severity: Option<Severity>,
    /// EPSS: probability of exploitation within thirty days, 0.0 to 1.0.
    pub epss: Option<f32>,
    /// Listed in CISA's catalogue of known exploited vulnerabilities.
    pub kev: bool,
    /// An exploit is public.
    pub exploit: bool,
}

/// How much each input counts, 0.0 (not at all) to 10.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    pub cvss: f32,
    pub epss: f32,
    pub kev: f32,
    pub exploit: f32,
}

impl Default for Weights {
    /// All equal: the weight of a source until somebody changes it.
    fn default() -> Self {
        Self { cvss: 1.0, epss: 1.0, kev: 1.0, exploit: 1.0 }
    }
}

/// The least score of a vulnerability known to be exploited: the lower end of "high" in CVSS v3.1, section 5.
///
/// It has happened; that it is hard to do or was thought unlikely no longer matters.
pub const EXPLOITED_FLOOR: f32 = 7.0;

/// The composite score, 0.0 to 10.0 with one decimal, or `None` when nothing is known that has a weight.
///
/// ```text
/// composite = Σ weight × score / Σ weight        over what is known
///   cvss      the base score, or the middle of the severity's band
///   epss      10 × √probability
///   kev       10 when listed
///   exploit   10 when public
/// ```
///
/// What is not known takes no part, in the numerator or the denominator: counted as zero it would make an unrated
/// vulnerability look harmless. Nor do "not listed" and "no public exploit", for both only mean that nobody has told. The root
/// spreads EPSS out, which has nine CVEs in ten below 0.05: a chance of 1 % scores 1, of 25 % scores 5.
///
/// A listed vulnerability scores [`EXPLOITED_FLOOR`] at least, unless `kev` weighs nothing. The score never falls when an
/// input rises. Scores out of bounds count as the bound; numbers that are none count as unknown.
#[must_use]
pub fn composite(inputs: &Inputs, weights: &Weights) -> Option<f32> {
    let severity = inputs.severity.and_then(middle_of_band);
    let cvss = inputs.cvss.filter(|score| !score.is_nan()).or(severity).map(|score| score.clamp(0.0, 10.0));
    let epss =
        inputs.epss.filter(|chance| !chance.is_nan()).map(|chance| 10.0 * chance.clamp(0.0, 1.0).sqrt());
    let known = [
        (cvss, weights.cvss),
        (epss, weights.epss),
        (inputs.kev.then_some(10.0), weights.kev),
        (inputs.exploit.then_some(10.0), weights.exploit),
    ];

    let (mut sum, mut total) = (0.0, 0.0);
    for (score, weight) in known {
        if let Some(score) = score.filter(|_| weight > 0.0) {
            sum += f64::from(weight) * f64::from(score);
            total += f64::from(weight);
        }
    }
    if total == 0.0 {
        return None;
    }
    let floor = if inputs.kev && weights.kev > 0.0 { f64::from(EXPLOITED_FLOOR) } else { 0.0 };
    let tenths = ((sum / total).max(floor) * 10.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "a whole number from 0 to 100")]
    let score = tenths as f32 / 10.0;
    Some(score)
}

/// The middle of a severity's band of scores in CVSS v3.1, section 5.
fn middle_of_band(severity: Severity) -> Option<f32> {
    match severity {
        Severity::Critical => Some(9.5),
        Severity::High => Some(8.0),
        Severity::Medium => Some(5.5),
        Severity::Low => Some(2.0),
        Severity::None => Some(0.0),
        Severity::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Inputs = Inputs { cvss: None, severity: None, epss: None, kev: false, exploit: false };

    fn score(inputs: Inputs) -> Option<f32> {
        composite(&inputs, &Weights::default())
    }

    #[test]
    fn nothing_known_is_no_score() {
        assert_eq!(score(NOTHING), None);
        assert_eq!(score(Inputs { severity: Some(Severity::Unknown), ..NOTHING }), None);
        assert_eq!(score(Inputs { cvss: Some(f32::NAN), epss: Some(f32::NAN), ..NOTHING }), None);
    }

    #[test]
    fn one_known_input_is_the_score() {
        assert_eq!(score(Inputs { cvss: Some(7.5), ..NOTHING }), Some(7.5));
        assert_eq!(score(Inputs { epss: Some(0.25), ..NOTHING }), Some(5.0));
        assert_eq!(score(Inputs { severity: Some(Severity::High), ..NOTHING }), Some(8.0));
    }

    #[test]
    fn a_score_outranks_a_rating_in_words() {
        let rated = Inputs { severity: Some(Severity::Critical), cvss: Some(3.0), ..NOTHING };
        assert_eq!(score(rated), Some(3.0));
    }

    #[test]
    fn inputs_are_averaged_by_weight() {
        let inputs = Inputs { cvss: Some(9.8), epss: Some(0.04), kev: true, ..NOTHING };
        assert_eq!(score(inputs), Some(7.3));
        let weights = Weights { cvss: 1.0, epss: 1.5, kev: 2.0, exploit: 1.0 };
        assert_eq!(composite(&inputs, &weights), Some(7.3));
        assert_eq!(composite(&Inputs { kev: false, ..inputs }, &weights), Some(5.1));
    }

    #[test]
    fn a_known_exploited_vulnerability_is_never_below_high() {
        let inputs = Inputs { cvss: Some(2.0), epss: Some(0.0), kev: true, ..NOTHING };
        assert_eq!(score(inputs), Some(EXPLOITED_FLOOR));
        let without = Weights { kev: 0.0, ..Weights::default() };
        assert_eq!(composite(&inputs, &without), Some(1.0));
    }

    #[test]
    fn scores_out_of_bounds_count_as_the_bound() {
        assert_eq!(score(Inputs { cvss: Some(99.0), ..NOTHING }), Some(10.0));
        assert_eq!(score(Inputs { epss: Some(-1.0), ..NOTHING }), Some(0.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_score_never_falls_when_an_input_rises(inputs in inputs(), weights in weights(), rise in 0.0_f32..10.0) {
            let before = composite(&inputs, &weights);
            let rated = inputs.severity.filter(|severity| *severity != Severity::Unknown);
            let risen = [
                Inputs { cvss: inputs.cvss.map(|score| score + rise), ..inputs },
                Inputs { epss: inputs.epss.map(|chance| chance + rise / 10.0), ..inputs },
                Inputs { kev: true, ..inputs },
                Inputs { exploit: true, ..inputs },
                Inputs { severity: rated.map(|_| Severity::Critical).or(inputs.severity), ..inputs },
            ];
            for inputs in risen {
                prop_assert!(composite(&inputs, &weights) >= before, "{inputs:?}");
            }
        }

        #[test]
        fn the_score_is_a_number_of_tenths_from_0_to_10(inputs in inputs(), weights in weights()) {
            if let Some(score) = composite(&inputs, &weights) {
                prop_assert!((0.0..=10.0).contains(&score));
                prop_assert_eq!(format!("{score:.1}").parse(), Ok(score));
            }
        }
    }

    fn inputs() -> impl Strategy<Value = Inputs> {
        let severity = proptest::option::of(proptest::sample::select(&Severity::ALL[..]));
        let score = proptest::option::of(0.0_f32..=10.0);
        let chance = proptest::option::of(0.0_f32..=1.0);
        (score, severity, chance, any::<bool>(), any::<bool>())
            .prop_map(|(cvss, severity, epss, kev, exploit)| Inputs { cvss, severity, epss, kev, exploit })
    }

    fn weights() -> impl Strategy<Value = Weights> {
        let weight = || (0_u8..=100).prop_map(|tenths| f32::from(tenths) / 10.0);
        (weight(), weight(), weight(), weight()).prop_map(|(cvss, epss, kev, exploit)| Weights {
            cvss,
            epss,
            kev,
            exploit,
        })
    }
}
