//! `plimsoll render`: a document to a file, without a database; for looking at templates while they are written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, SubsecRound, Utc};
use domain::document::{Branding, Document, Format, ReportOptions, Seal as SignaturePage};
use rendering::{Options, Rendered, samples};
use runtime::config::SealSettings;
use serde::de::DeserializeOwned;
use signing::{
    Identity, SignError, Statement,
    authority::Authority,
    keyring::{Generation, Keyring},
    pack::{File, Input, seal},
    pdf::Seal,
};
use worker::sealing::brought_identity;

use crate::exit::{Exit, Failure};
use crate::installation;
use crate::terminal;

/// Render a report from sample data or from a document, without a database.
///
/// Example: plimsoll render ssp --sample --format pdf -o ssp.pdf
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The report type: executive_summary, technical, asset_inventory, findings, ssp, poam.
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
    /// this file and thrown away. A pack (--format zip) always is.
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
    let mut document = document(arguments)?;
    if let Some(path) = &arguments.options {
        document.apply(&read::<ReportOptions>(path)?);
    }
    let options = Options {
        template_dir: templates(arguments),
        csv_bom: false,
        branding: arguments.branding.as_deref().map(read::<Branding>).transpose()?.unwrap_or_default(),
        attach_data: arguments.attach_data,
    };
    let rendered = match (arguments.format, arguments.signed) {
        (Format::Zip, _) => packed(&document, arguments, &options)?,
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

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what is expected there", path.display()))
}

/// Signed without a timestamp: for seeing what a signed report looks like.
fn signed(mut document: Document, signing: &Signing, options: &Options) -> Result<Rendered, Failure> {
    let Signing { keys, verify_url, now } = signing;
    document.cover.verify_url = Some(verify_url.clone());
    let statement = statement(&document, *now);
    let identity = &keys.seal;
    document.seal = Some(SignaturePage {
        signer: document.cover.organization.clone(),
        organization: Some(document.cover.organization.clone()),
        signed_at: *now,
        reason: Some("Shows what a signed report looks like.".to_owned()),
        certificate: Some(format!("{}, SHA-256 {}", identity.name(), hex::encode(identity.fingerprint()))),
        timestamp: Some("None: rendered on the command line.".to_owned()),
        content_sha256: statement.content_sha256.clone(),
        verify_url: verify_url.clone(),
    });
    let rendered = rendering::render(&document, Format::Pdf, options).map_err(anyhow::Error::from)?;
    let sealed = Seal::new(&rendered.bytes, identity, &statement).and_then(|seal| seal.finish(None));
    Ok(Rendered { bytes: sealed.map_err(anyhow::Error::from)?, ..rendered })
}

/// Several files of the document with a signed list of them. A PDF in it is signed too if that was asked for.
fn packed(document: &Document, arguments: &Arguments, options: &Options) -> Result<Rendered, Failure> {
    let signing = Signing::begin(document, arguments)?;
    let wishes: ReportOptions = arguments.options.as_deref().map(read).transpose()?.unwrap_or_default();
    let has_table = document.main_table().is_some();
    let formats =
        wishes.packed(&rendering::FORMATS).into_iter().filter(|format| *format != Format::Csv || has_table);
    let stem = document.report_type.replace('_', "-");
    let mut files = Vec::new();
    for format in formats {
        let rendered = match format {
            Format::Pdf if arguments.signed => signed(document.clone(), &signing, options)?,
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
    let statement = statement(document, signing.now);
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
fn statement(document: &Document, now: DateTime<Utc>) -> Statement {
    let cover = &document.cover;
    Statement {
        report_type: document.report_type.clone(),
        title: cover.title.clone(),
        tenant: cover.organization.clone(),
        content_sha256: hex::encode(document.content_sha256()),
        signed_by: cover.organization.clone(),
        ..Statement::new(cover.document_number.clone(), cover.generated_at, now)
    }
}

/// What everything that one call writes is signed with.
struct Signing {
    keys: Keys,
    verify_url: String,
    now: DateTime<Utc>,
}

impl Signing {
    /// Chooses the keys, says which, and writes their root where that was asked for.
    fn begin(document: &Document, arguments: &Arguments) -> Result<Self, Failure> {
        let config = installation::settings()?;
        let now = Utc::now().trunc_subsecs(0);
        let keys = keys(&config.seal, &document.cover.organization, now)?;
        terminal::remark(format_args!("{}", keys.told));
        if let Some(path) = &arguments.root {
            if keys.is_brought && arguments.format == Format::Pdf {
                let sentence = "the key was brought: it is verified by the certificate that came with it";
                return Err(anyhow!(sentence).into());
            }
            fs::write(path, &keys.generation.authority.root.certificate)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { keys, verify_url: format!("{}/api/v1/reports/verify", config.public_url()), now })
    }
}

struct Keys {
    /// For PDFs.
    seal: Identity,
    /// The seal was brought, and is not of the generation.
    is_brought: bool,
    /// For packs; its root is what whoever verifies has to trust.
    generation: Generation,
    /// Which keys these are, for people.
    told: String,
}

/// The keys of the installation on this machine; without any, keys that nobody keeps.
fn keys(settings: &SealSettings, organization: &str, now: DateTime<Utc>) -> Result<Keys, Failure> {
    let unusable = |error: SignError| Failure::new(Exit::Config, error);
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
    match &settings.brought {
        None => {
            let seal = generation.seal(now).map_err(unusable)?;
            Ok(Keys { seal, is_brought: false, generation, told })
        }
        Some(brought) => {
            let seal = brought_identity(brought).map_err(unusable)?;
            let told =
                "signed with the key that the SEAL_ settings name; a pack with one of its own".to_owned();
            Ok(Keys { seal, is_brought: true, generation, told })
        }
    }
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
