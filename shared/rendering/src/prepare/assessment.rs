//! Findings, controls, timelines and signatures.

use domain::document::{
    AffectedAsset, Answer, Attestation, Choice, Control, ControlPart, EvidenceItem, FindingCard, Fix,
    SignOff, Signatory, Status, Timeline, TimelineEvent,
};

use super::{
    EVIDENCE, HEADING, LABEL, NAME, PHRASE, PROSE, Place, SHORT, line, set, set_fact, set_inlines, set_items,
    set_link, set_option, set_required,
};

const REFERENCE: Place = line(500, 60);

pub(super) fn set_card(card: &mut FindingCard) {
    let FindingCard {
        title,
        severity: _,
        score: _,
        vulnerability_id,
        marks,
        package,
        installed,
        fix,
        description,
        facts,
        affected,
        affected_total: _,
        evidence,
        remediation,
        references,
    } = card;
    set_required(title, HEADING, "Untitled finding");
    set(vulnerability_id, line(120, 30));
    for Status { label, tone: _ } in marks {
        set(label, line(40, 20));
    }
    set_option(package, SHORT);
    set_option(installed, SHORT);
    match fix {
        Fix::Version(version) => set(version, SHORT),
        Fix::NotAvailable | Fix::Unknown => {}
    }
    set(description, PROSE);
    facts.iter_mut().for_each(|fact| set_fact(fact, SHORT));
    for AffectedAsset { name, detail } in affected {
        set(name, NAME);
        set_option(detail, NAME);
    }
    evidence.iter_mut().for_each(|evidence| set(evidence, EVIDENCE));
    set_option(remediation, PROSE);
    references.iter_mut().for_each(|link| set_link(link, REFERENCE));
}

pub(super) fn set_control(control: &mut Control) {
    let Control {
        control_id,
        title,
        status,
        facts,
        choices,
        parameters,
        statement,
        implementation,
        evidence,
        gaps,
        remediation,
        references,
    } = control;
    set_required(control_id, line(60, 20), "Control");
    set_required(title, HEADING, "Untitled control");
    set_status(status);
    facts.iter_mut().chain(parameters).for_each(|fact| set_fact(fact, PROSE));
    for Choice { label, answers } in choices {
        set(label, LABEL);
        for Answer { label, applies: _ } in answers {
            set(label, line(120, 24));
        }
    }
    set_items(statement, 1);
    for ControlPart { label, status, content } in implementation {
        set_option(label, LABEL);
        status.iter_mut().for_each(set_status);
        set_inlines(content, PROSE);
    }
    for EvidenceItem { title, detail, collected_on: _, sha256 } in evidence {
        set(title, NAME);
        set_option(detail, PHRASE);
        set_option(sha256, line(128, 24));
    }
    set_inlines(gaps, PROSE);
    set_option(remediation, PROSE);
    references.iter_mut().for_each(|link| set_link(link, REFERENCE));
}

fn set_status(status: &mut Status) {
    let Status { label, tone: _ } = status;
    set(label, line(60, 24));
}

pub(super) fn set_timeline(timeline: &mut Timeline) {
    let Timeline { title, events } = timeline;
    set_option(title, HEADING);
    for TimelineEvent { on: _, until: _, title, detail, status } in events {
        set(title, PHRASE);
        set_inlines(detail, PROSE);
        status.iter_mut().for_each(set_status);
    }
}

pub(super) fn set_sign_off(sign_off: &mut SignOff) {
    let SignOff { statement, signatories } = sign_off;
    set_inlines(statement, PROSE);
    signatories.iter_mut().for_each(set_signatory);
}

pub(super) fn set_attestation(attestation: &mut Attestation) {
    let Attestation { title, statement, affirmations, facts, official, legal_notice } = attestation;
    set_required(title, HEADING, "Attestation");
    set_inlines(statement, PROSE);
    set_items(affirmations, 1);
    facts.iter_mut().for_each(|fact| set_fact(fact, PROSE));
    set_signatory(official);
    set_option(legal_notice, PROSE);
}

fn set_signatory(signatory: &mut Signatory) {
    let Signatory { role, name, organization, signed_on: _ } = signatory;
    set(role, NAME);
    set_option(name, NAME);
    set_option(organization, NAME);
}
