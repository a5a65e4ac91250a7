//! The attacks side by side: what this verifier, pyHanko and poppler's `pdfsig` say of each. `docs/SIGNING.md` shows the table.
//!
//! Ours refuses every one of them, and whatever one of the others refuses. A judge that is not installed is passed over. With
//! `UPDATE_GOLDENS=1` the table is written.

use std::{fs, path::Path};

use chrono::TimeDelta;
use cms::{
    content_info::ContentInfo,
    signed_data::{SignedData, SignerInfos},
};
use der::{Any, Decode, Encode, asn1::SetOfVec};
use signing::{Anchors, Statement, authority::Authority, keyring::Generation, pdf::Seal, verify};

use crate::{
    attacks::{object, update},
    authority::TimestampAuthority,
    independent::run,
    support::{Site, last, pdf, replaced, statement},
};

/// A file, how it came to be, and whether what is wrong with it is trust alone, which `pdfsig` is not asked about.
struct Attack {
    name: &'static str,
    file: Vec<u8>,
    about_trust: bool,
}

fn attacks(site: &Site) -> Vec<Attack> {
    let signed = site.signed();
    let hole = last(&signed, "/Contents<") + 9;
    let close = hole + 2 + 2 * 16 * 1024;
    let flipped = |at: usize| {
        let mut file = signed.clone();
        file[at] ^= 1;
        file
    };
    let shadow = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n";
    let painted = "<</Length 36>>\nstream\n1 0 0 rg 60 60 400 200 re f          \nendstream".to_owned();
    let mut hidden = signed.clone();
    hidden[close - 17..close - 1].copy_from_slice(b"deadbeefdeadbeef");
    let mut capitals = signed.clone();
    capitals[hole + 1..hole + 4001].make_ascii_uppercase();
    let copies: Vec<_> = [1, 3, 7, 8].map(|number| (number, object(&signed, number))).into();
    let second = [
        (1, object(&signed, 1).replace("/Fields[8 0 R]", "/Fields[8 0 R 41 0 R]")),
        (41, "<</Type/Annot/Subtype/Widget/FT/Sig/T(Other)/V 42 0 R>>".into()),
        (42, object(&signed, 7)),
    ];
    let other_pages = [(2, "<</Type/Pages/Count 1/Kids[4 0 R]>>".to_owned())];
    let file = |name, file| Attack { name, file, about_trust: false };
    let mut attacks = vec![
        file("a byte of a page is flipped", flipped(300)),
        file("a byte of the signed digest is changed", changed_behind(&signed, MESSAGE_DIGEST, 20)),
        file("a byte of the timestamp is changed", changed_behind(&signed, TIMESTAMP, 60)),
        file("a byte of the file's end is flipped", flipped(signed.len() - 3)),
        file("a line is appended", [&signed[..], b"\n% appended\n"].concat()),
        file("a line is put before the file", [b"% before\n", &signed[..]].concat()),
        file("the last bytes are cut off", signed[..signed.len() - 9].to_vec()),
        file("an update repaints a page", update(&signed, &[(5, painted)])),
        file(
            "an update brings other pages, prepared before (shadow: replace)",
            update(&signed, &other_pages),
        ),
        file("an update repeats catalog, field and signature", update(&signed, &copies)),
        file("a second signature is put on top", update(&signed, &second)),
        file("the signature is removed: an update drops the form", {
            update(&signed, &[(1, "<</Type/Catalog/Pages 2 0 R>>".into())])
        }),
        file("the signature is removed: the file is unsigned", pdf()),
        file("the form says that nothing is signed", replaced(&signed, "/SigFlags 3", "/SigFlags 0")),
        file("other content is wrapped in, behind the signature", {
            [&signed[..close], shadow, &signed[close..]].concat()
        }),
        file("other content is wrapped in, within the signature's place", {
            [&signed[..close - 1], b">", shadow, &signed[close..]].concat()
        }),
        file("the byte range leaves the end out", shorter_range(&signed)),
        file("data is hidden in the padding behind the signature", hidden),
        file("the signature is written in capitals", capitals),
    ];
    attacks.extend(of_trust(site));
    attacks
}

/// `messageDigest` (RFC 5652, 11.2) and `id-ct-TSTInfo` (RFC 3161, 2.4.2) in DER, as they stand in the file.
const MESSAGE_DIGEST: &str = "06092a864886f70d010904";
const TIMESTAMP: &str = "060b2a864886f70d0109100104";

/// With another value in the byte that many bytes behind the first `name` in the signature.
fn changed_behind(signed: &[u8], name: &str, bytes: usize) -> Vec<u8> {
    let at = signed.windows(name.len()).position(|window| window == name.as_bytes()).unwrap()
        + name.len()
        + 2 * bytes;
    let mut file = signed.to_vec();
    file[at] = if file[at] == b'0' { b'1' } else { b'0' };
    file
}

fn shorter_range(signed: &[u8]) -> Vec<u8> {
    let from = last(signed, "/ByteRange[0 ");
    let text = String::from_utf8_lossy(&signed[from + 12..from + 50]).into_owned();
    let numbers: Vec<usize> =
        text.split_whitespace().take(3).map(|number| number.trim_end_matches(']').parse().unwrap()).collect();
    let range = format!("/ByteRange[0 {:<10} {:<10} {:<10}", numbers[0], numbers[1], numbers[2] - 10);
    let mut file = signed.to_vec();
    file[from..from + range.len()].copy_from_slice(range.as_bytes());
    file
}

fn of_trust(site: &Site) -> Vec<Attack> {
    let by = |name: &str| {
        let generation = Generation { number: 1, authority: Authority::generate(name, site.now).unwrap() };
        site.sign(&generation.seal(site.now).unwrap(), &statement(site.now))
    };
    let stamped = Statement { timestamped: true, ..statement(site.now) };
    let stranger = TimestampAuthority::new("Stranger");
    let seal = Seal::new(&pdf(), &site.identity(), &stamped).unwrap();
    let query = seal.timestamp_query().unwrap();
    let roots = Anchors::read_pem(&stranger.root_pem).unwrap();
    let reply = stranger.reply(query.der(), site.now);
    let token = query.accept(&reply, &roots, site.now).unwrap();
    let strangely_stamped = seal.finish(Some(&token)).unwrap();
    let trust = |name, file| Attack { name, file, about_trust: true };
    vec![
        trust("somebody else's keys, with the same names", by("Acme Corp")),
        trust("a look-alike name: the `A` is Cyrillic", by("\u{410}cme Corp")),
        trust("the timestamp is cut out of the signature", without_timestamp(&site.signed())),
        trust("a timestamp of an authority that nobody trusts", strangely_stamped),
    ]
}

fn without_timestamp(signed: &[u8]) -> Vec<u8> {
    let hole = last(signed, "/Contents<") + 10;
    let place = hole..hole + 2 * 16 * 1024;
    let digits = std::str::from_utf8(&signed[place.clone()]).unwrap();
    let padded = hex::decode(digits).unwrap();
    let length = 4 + usize::from(u16::from_be_bytes([padded[2], padded[3]]));
    let content = ContentInfo::from_der(&padded[..length]).unwrap();
    let mut data: SignedData = content.content.decode_as().unwrap();
    let mut signers = data.signer_infos.0.into_vec();
    signers[0].unsigned_attrs = None;
    data.signer_infos = SignerInfos(SetOfVec::try_from(signers).unwrap());
    let der = ContentInfo { content: Any::encode_from(&data).unwrap(), ..content }.to_der().unwrap();
    let digits = format!("{:0<width$}", hex::encode(der), width = place.len());
    [&signed[..hole], digits.as_bytes(), &signed[place.end..]].concat()
}

/// Signed without a timestamp when the clock was another one, by roots that are trusted.
fn of_other_times() -> [(Site, Attack); 2] {
    let year = TimeDelta::days(365);
    [("an expired certificate, and no timestamp", year * -4), ("a certificate that is not good yet", year)]
        .map(|(name, away)| {
            let site = Site::at(chrono::Utc::now() + away);
            let file = site.unstamped();
            (site, Attack { name, file, about_trust: true })
        })
}

struct Judged {
    name: &'static str,
    ours: String,
    pyhanko: Option<String>,
    pdfsig: Option<String>,
}

fn judged(site: &Site, attack: Attack, folder: &Path) -> Judged {
    let path = folder.join("file.pdf");
    fs::write(&path, &attack.file).unwrap();
    let path = path.to_str().unwrap();
    let ours = match verify(&attack.file, &site.anchors, chrono::Utc::now()).finding {
        Ok(_) => "accepted".to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
    };
    let pyhanko = site.pyhanko(folder, path).map(|said| {
        match (said.contains("judged VALID"), said.contains("judged INVALID")) {
            (true, false) if said.contains("covers the entire file") => "accepted",
            (true, false) => "accepted, changed in a way that is allowed",
            (_, true) => "refused",
            (false, false) => "finds no signature",
        }
        .to_owned()
    });
    let pdfsig = if attack.about_trust { None } else { run("pdfsig", &["-nocert", path]) };
    let pdfsig = pdfsig.map(|said| {
        match (said.contains("Signature is Valid."), said.contains("Not total document signed")) {
            (true, false) => "accepted",
            (true, true) => "signature valid, not the whole file",
            _ if said.contains("does not contain any signatures") => "finds no signature",
            _ => "refused",
        }
        .to_owned()
    });
    Judged { name: attack.name, ours, pyhanko, pdfsig }
}

#[test]
fn every_attack_is_refused_whatever_other_verifiers_say() {
    let site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    let as_issued = Attack { name: "as it was issued", file: site.signed(), about_trust: false };
    let issued = judged(&site, as_issued, folder.path());
    for (who, verdict) in [
        ("ours", Some(&issued.ours)),
        ("pyHanko", issued.pyhanko.as_ref()),
        ("pdfsig", issued.pdfsig.as_ref()),
    ] {
        assert!(verdict.is_none_or(|verdict| verdict == "accepted"), "{who}: {verdict:?}");
    }
    let mut rows: Vec<Judged> =
        attacks(&site).into_iter().map(|attack| judged(&site, attack, folder.path())).collect();
    rows.extend(of_other_times().into_iter().map(|(site, attack)| judged(&site, attack, folder.path())));
    for row in &rows {
        assert!(row.ours.starts_with("refused: "), "{}: {}", row.name, row.ours);
    }
    rows.insert(0, issued);
    show(&rows);
}

/// Prints the table, and holds the documentation to it where the judges are those that it names.
#[expect(clippy::print_stdout, reason = "whoever runs the test should see the table")]
fn show(rows: &[Judged]) {
    let version = |program: &str, arguments: &[&str]| {
        let said = run(program, arguments)?;
        said.split_whitespace()
            .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
            .map(str::to_owned)
    };
    let (Some(pyhanko), Some(pdfsig)) = (version("pyhanko", &["--version"]), version("pdfsig", &["-v"]))
    else {
        return;
    };
    let head =
        format!("| attack | Plimsoll | pyHanko {} | pdfsig {pdfsig} |", pyhanko.trim_end_matches([',', ')']));
    let dash = "–".to_owned();
    let cells = |row: &Judged| {
        let [pyhanko, pdfsig] = [&row.pyhanko, &row.pdfsig].map(|said| said.as_ref().unwrap_or(&dash));
        format!("| {} | {} | {pyhanko} | {pdfsig} |", row.name, row.ours)
    };
    let table = [head.clone(), "|---|---|---|---|".to_owned()].into_iter().chain(rows.iter().map(cells));
    let table = table.collect::<Vec<_>>().join("\n");
    println!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SIGNING.md");
    let page = fs::read_to_string(&path).unwrap();
    let from = page.find("| attack |").expect("the page has the table");
    let until = page[from..].find("\n\n").map_or(page.len(), |end| from + end);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, format!("{}{table}{}", &page[..from], &page[until..])).unwrap();
    } else if page.contains(&head) {
        assert_eq!(&page[from..until], table, "docs/SIGNING.md shows others: UPDATE_GOLDENS=1 writes these");
    }
}
