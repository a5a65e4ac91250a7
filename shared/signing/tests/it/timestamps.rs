//! Timestamps: what an authority may answer, and what may happen to its token afterwards.

use chrono::TimeDelta;
use signing::{
    Anchors, Refusal, Statement,
    pdf::Seal,
    timestamp::{Query, TimestampError},
    verify,
};

use crate::{
    authority::TimestampAuthority,
    support::{Site, pdf, statement},
};

#[test]
fn an_answer_to_another_question_is_refused() {
    let site = Site::new();
    let (asked, other) = (Query::new(b"one").unwrap(), Query::new(b"one").unwrap());
    let reply = site.timestamps.reply(other.der(), site.now);
    let refused = asked.accept(&reply, &site.anchors.timestamps, site.now).unwrap_err();
    assert_eq!(refused, TimestampError::OtherQuestion, "the nonce differs");
}

#[test]
fn a_refusal_is_told_with_its_status() {
    // SEQUENCE { SEQUENCE { INTEGER 2 } }: rejection.
    let query = Query::new(b"one").unwrap();
    let refused = query.accept(&[0x30, 5, 0x30, 3, 2, 1, 2], &[], Site::new().now).unwrap_err();
    assert_eq!(refused, TimestampError::Refused(2));
}

#[test]
fn what_is_no_timestamp_is_refused() {
    let site = Site::new();
    let query = Query::new(b"one").unwrap();
    for reply in [&b""[..], b"<html>502 Bad Gateway</html>", &[0x30, 5, 0x30, 3, 2, 1, 0]] {
        assert_eq!(
            query.accept(reply, &site.anchors.timestamps, site.now).unwrap_err(),
            TimestampError::Form
        );
    }
}

#[test]
fn a_time_in_the_future_is_refused() {
    let site = Site::new();
    let query = Query::new(b"one").unwrap();
    let reply = site.timestamps.reply(query.der(), site.now + TimeDelta::hours(1));
    let refused = query.accept(&reply, &site.anchors.timestamps, site.now).unwrap_err();
    assert_eq!(refused, TimestampError::Future);
}

#[test]
fn a_stranger_cannot_vouch_for_the_time() {
    let site = Site::new();
    let stranger = TimestampAuthority::new("Example");
    let query = Query::new(b"one").unwrap();
    let reply = stranger.reply(query.der(), site.now);
    assert!(matches!(
        query.accept(&reply, &site.anchors.timestamps, site.now).unwrap_err(),
        TimestampError::Chain(_)
    ));
}

/// A token stands outside of what is signed; that there is one does not.
#[test]
fn a_timestamp_can_neither_be_cut_out_nor_put_in() {
    let site = Site::new();
    let identity = site.identity();
    let stamped = Statement { timestamped: true, ..statement(site.now) };
    assert!(Seal::new(&pdf(), &identity, &stamped).unwrap().finish(None).is_err());

    let seal = Seal::new(&pdf(), &identity, &statement(site.now)).unwrap();
    let query = seal.timestamp_query().unwrap();
    let reply = site.timestamps.reply(query.der(), site.now);
    let token = query.accept(&reply, &site.anchors.timestamps, site.now).unwrap();
    assert!(seal.finish(Some(&token)).is_err());
}

#[test]
fn the_time_is_the_authoritys() {
    let site = Site::new();
    let proof = verify(&site.signed(), &site.anchors, site.now).finding.unwrap();
    let stamp = proof.timestamp.clone().unwrap();
    assert_eq!(proof.signed_at(), stamp.time);
    assert_eq!(stamp.time.timestamp_millis(), site.now.timestamp_millis());
}

#[test]
fn a_timestamp_from_an_authority_that_is_not_trusted_is_refused() {
    let site = Site::new();
    let anchors = Anchors { timestamps: Vec::new(), ..site.anchors.clone() };
    let refused = verify(&site.signed(), &anchors, site.now).finding.unwrap_err();
    assert!(matches!(refused, Refusal::Timestamp(TimestampError::Chain(_))), "{refused}");
    assert!(!refused.is_tampering());
}
