//! `plimsoll render`: a document to a file, without a database; for looking at templates while they are written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, SubsecRound, Utc};
use domain::document::{Branding, Document, Format, ReportOptions, Seal as SignaturePage};
use rendering::{Options, Rendered, samples};
use runtime::config::{BroughtKey, SealSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;
use signing::{
    Anchors, Identity, SignError, Statement,
    authority::Authority,
    keyring::{Generation, Keyring},
    pack::{File, Input, seal},
    verify::Level,
};
use worker::sealing::{JobError, Sealer, brought_certificate, brought_identity};

use crate::exit::{Exit, Failure};
use crate::installation;
use crate::terminal;

/// Render a report from sample data or from a document, without a database.
///
/// Example: plimsoll render ssp --sample --format pdf -o ssp.pdf
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The report type: executive_summary, technical, asset_inventory, findings, framework, ssp, poam.
    #[arg(value_name = "TYPE")]
    report_type: String,
    /// Use the made-up data that comes with the type.
    #[arg(long, conflicts_with = "document", required_unless_present = "document")]
    sample: bool,
    /// Use a document as the JSON format has it.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    #[arg(long, short, default_value = "pdf", value_parser = str::parse::<Format>)]
    format: Format,
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Sign the PDF: with the keys of the installation on this machine if it has any, otherwise with keys that are made for
    /// this file and thrown away, and with a timestamp if TSA_URL names an authority. A pack (--format zip) always is.
    #[arg(long)]
    signed: bool,
    /// Write the certificate there by which the signed file can be verified.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Attach the report's JSON and CSV to the PDF.
    #[arg(long)]
    attach_data: bool,
    /// What a request may ask for, as JSON: {"watermark": "DRAFT", "classification": "CUI"}.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Logo, colours, contact and legal statements, as JSON.
    #[arg(long, value_name = "FILE")]
    branding: Option<PathBuf>,
    /// Read the templates from this folder instead of the built-in ones.
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,
    /// Render again whenever a template or the document changes, until Ctrl-C. Reads the templates from ./templates
    /// unless another folder is named.
    #[arg(long)]
    watch: bool,
}

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

#[expect(clippy::disallowed_methods, reason = "there is nothing else on this thread, and no runtime")]
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.watch {
        return render(arguments);
    }
    let folder = templates(arguments)
        .ok_or_else(|| anyhow!("there is no folder to watch: name it with --templates"))?;
    let mut seen = None;
    loop {
        let state = newest(&folder).max(arguments.document.as_deref().and_then(modified));
        if state != seen {
            seen = state;
            // A template that does not compile yet is no reason to stop.
            match render(arguments) {
                Ok(()) => {}
                Err(failure) => terminal::remark(format_args!("plimsoll: {failure}")),
            }
        }
        std::thread::sleep(LOOK);
    }
}

fn render(arguments: &Arguments) -> Result<(), Failure> {
    let wishes = arguments.options.as_deref().map(wishes).transpose()?.unwrap_or_default();
    let mut document = document(arguments)?;
    document.apply(&wishes);
    let options = Options {
        template_dir: templates(arguments),
        csv_bom: wishes.csv_bom,
        branding: arguments.branding.as_deref().map(read::<Branding>).transpose()?.unwrap_or_default(),
        attach_data: arguments.attach_data || wishes.attach_data,
    };
    let is_signed = arguments.signed || wishes.signed;
    let rendered = match (arguments.format, is_signed) {
        (Format::Zip, _) => packed(&document, arguments, &wishes, &options)?,
        (Format::Pdf, true) => {
            let signing = Signing::begin(&document, arguments)?;
            signed(document, &signing, &options)?
        }
        (_, true) => return Err(anyhow!("only a PDF can be signed: ask for --format pdf").into()),
        (_, false) if arguments.root.is_some() => {
            return Err(anyhow!(
                "without a signature nothing is verified: ask for --signed, or leave --root out"
            )
            .into());
        }
        (format, false) => rendering::render(&document, format, &options).map_err(anyhow::Error::from)?,
    };
    fs::write(&arguments.output, &rendered.bytes)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    let pages = rendered.page_count.map(|pages| format!(", {pages} pages")).unwrap_or_default();
    terminal::remark(format_args!("{}: {} bytes{pages}", arguments.output.display(), rendered.bytes.len()));
    Ok(())
}

fn document(arguments: &Arguments) -> Result<Document, Failure> {
    if let Some(path) = &arguments.document {
        return Ok(Document { report_type: arguments.report_type.clone(), ..read(path)? });
    }
    samples::sample(&arguments.report_type).ok_or_else(|| {
        anyhow!("there is no sample of `{}`: there are {}", arguments.report_type, samples::TYPES.join(", "))
            .into()
    })
}

/// What a request's `options` may hold, as far as it makes sense without a server. A name that nobody reads is mistyped: what was
/// meant would silently be missing from the report.
fn wishes(path: &Path) -> anyhow::Result<ReportOptions> {
    let given = Value::Object(read(path)?);
    let mut unread = Vec::new();
    let wishes = serde_ignored::deserialize(given, |name| unread.push(name.to_string()))
        .with_context(|| format!("{} is not what is expected there", path.display()))?;
    match unread.first() {
        None => Ok(wishes),
        Some(name) => Err(anyhow!(
            "{} names `{name}`, which is no option: those of POST /api/reports/generate are understood",
            path.display()
        )),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what is expected there", path.display()))
}

/// Signed as a worker signs: with a timestamp where an authority is named, and with what shows that no certificate was revoked.
fn signed(mut document: Document, signing: &Signing, options: &Options) -> Result<Rendered, Failure> {
    let Signing { keys, sealer, has_authority, now } = signing;
    document.cover.verify_url = Some(sealer.verify_url().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan =
        runtime.block_on(sealer.plan_for(keys.seal(*now)?, statement(&document, *now)?)).map_err(unsigned)?;
    document.seal = Some(SignaturePage {
        reason: Some("Shows what a signed report looks like.".to_owned()),
        ..plan.page()
    });
    let rendered = rendering::render(&document, Format::Pdf, options).map_err(anyhow::Error::from)?;
    let signed = runtime.block_on(sealer.sign(rendered.bytes, plan, &keys.trusted()?)).map_err(unsigned)?;
    let level = signed.proof.level.unwrap_or(Level::B);
    let why = match level {
        Level::B if *has_authority => ": the timestamp authority of TSA_URL did not answer",
        Level::B => ": TSA_URL and TSA_ROOTS name a timestamp authority, which makes it B-T or better",
        Level::Timestamped | Level::LongTerm => "",
    };
    terminal::remark(format_args!("the signature is PAdES {}, {}{why}", level.as_str(), level.in_words()));
    Ok(Rendered { bytes: signed.bytes, ..rendered })
}

/// A worker would try again where this ends.
fn unsigned(error: JobError) -> Failure {
    match error {
        JobError::Retry(error) | JobError::RetryAfter(_, error) => Failure::unavailable(error),
        JobError::Snooze { why, .. } | JobError::Discard(why) => anyhow!(why).into(),
        JobError::Superseded => anyhow!("somebody else signs this").into(),
    }
}

/// Several files of the document with a signed list of them. A PDF in it is signed too if that was asked for.
fn packed(
    document: &Document,
    arguments: &Arguments,
    wishes: &ReportOptions,
    options: &Options,
) -> Result<Rendered, Failure> {
    let signing = Signing::begin(document, arguments)?;
    let has_table = document.main_table().is_some();
    let is_signed = arguments.signed || wishes.signed;
    let formats =
        wishes.packed(&rendering::FORMATS).into_iter().filter(|format| *format != Format::Csv || has_table);
    let stem = document.report_type.replace('_', "-");
    let mut files = Vec::new();
    for format in formats {
        let rendered = match format {
            Format::Pdf if is_signed => signed(document.clone(), &signing, options)?,
            format => rendering::render(document, format, options).map_err(anyhow::Error::from)?,
        };
        files.push((format!("{stem}.{}", rendered.extension), rendered));
    }
    let files: Vec<File<'_>> = files
        .iter()
        .map(|(name, file)| File { name, media_type: file.media_type, bytes: &file.bytes })
        .collect();
    let inputs = document.inputs.iter().map(|input| Input {
        name: input.name.clone(),
        version: input.version.clone(),
        sha256: input.sha256.clone(),
    });
    let statement = statement(document, signing.now)?;
    let bytes = signing
        .keys
        .generation
        .pack()
        .and_then(|identity| seal(&files, &inputs.collect::<Vec<_>>(), &statement, &identity))
        .map_err(anyhow::Error::from)?;
    let (media_type, extension) = (Format::Zip.media_type(), Format::Zip.extension());
    Ok(Rendered { bytes, media_type, extension, page_count: None })
}

/// What the signature says.
fn statement(document: &Document, now: DateTime<Utc>) -> anyhow::Result<Statement> {
    let cover = &document.cover;
    let content = document.content_sha256().context("the report has no hash")?;
    Ok(Statement {
        report_type: document.report_type.clone(),
        title: cover.title.clone(),
        tenant: cover.organization.clone(),
        content_sha256: hex::encode(content),
        signed_by: cover.organization.clone(),
        ..Statement::new(cover.document_number.clone(), cover.generated_at, now)
    })
}

/// What everything that one call writes is signed with.
struct Signing {
    keys: Keys,
    sealer: Sealer,
    /// The settings name a timestamp authority.
    has_authority: bool,
    now: DateTime<Utc>,
}

impl Signing {
    /// Chooses the keys, says which, and writes their root where that was asked for.
    fn begin(document: &Document, arguments: &Arguments) -> Result<Self, Failure> {
        let config = installation::settings()?;
        let now = Utc::now().trunc_subsecs(0);
        let sealer = Sealer::new(&config).map_err(|error| Failure::new(Exit::Config, error))?;
        let has_authority = config.seal.timestamps.is_some();
        let keys = keys(config.seal, &document.cover.organization, now)?;
        terminal::remark(format_args!("{}", keys.told));
        if let Some(path) = &arguments.root {
            if keys.brought.is_some() && arguments.format == Format::Pdf {
                let sentence = "the key was brought: it is verified by the certificate that came with it";
                return Err(anyhow!(sentence).into());
            }
            fs::write(path, &keys.generation.authority.root.certificate)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { keys, sealer, has_authority, now })
    }
}

struct Keys {
    /// Signs PDFs in place of the generation.
    brought: Option<BroughtKey>,
    /// For PDFs and packs; its root is what whoever verifies has to trust.
    generation: Generation,
    /// Which keys these are, for people.
    told: String,
}

impl Keys {
    /// For PDFs.
    fn seal(&self, now: DateTime<Utc>) -> Result<Identity, Failure> {
        match &self.brought {
            Some(brought) => brought_identity(brought),
            None => self.generation.seal(now),
        }
        .map_err(unusable)
    }

    /// What such a seal is trusted by.
    fn trusted(&self) -> Result<Vec<Vec<u8>>, Failure> {
        match &self.brought {
            Some(brought) => brought_certificate(brought).map(|own| vec![own]),
            None => Anchors::read_pem(&self.generation.authority.root.certificate),
        }
        .map_err(unusable)
    }
}

fn unusable(error: SignError) -> Failure {
    Failure::new(Exit::Config, error)
}

/// The keys of the installation on this machine; without any, keys that nobody keeps.
fn keys(settings: SealSettings, organization: &str, now: DateTime<Utc>) -> Result<Keys, Failure> {
    let keyring = Keyring::new(&settings.key_dir);
    let place = settings.key_dir.display();
    let (generation, told) = if keyring.roots().map_err(unusable)?.is_empty() {
        let authority = Authority::generate(organization, now).map_err(unusable)?;
        let told = format!(
            "signed with keys made for this file and thrown away, because there are none in {place}: it can be verified with --root only"
        );
        (Generation { number: 1, authority }, told)
    } else {
        (keyring.current(organization, now).map_err(unusable)?, format!("signed with the keys in {place}"))
    };
    let told = match &settings.brought {
        None => told,
        Some(_) => "signed with the key that the SEAL_ settings name; a pack with one of its own".to_owned(),
    };
    Ok(Keys { brought: settings.brought, generation, told })
}

/// The folder that was named, or while watching the one in front of us.
fn templates(arguments: &Arguments) -> Option<PathBuf> {
    let here = || Some(PathBuf::from("templates")).filter(|folder| arguments.watch && folder.is_dir());
    arguments.templates.clone().or_else(here)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// When anything below the folder was last written.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let times = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() { newest(&path) } else { modified(&path) }
    });
    times.max().flatten()
}
