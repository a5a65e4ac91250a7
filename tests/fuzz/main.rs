//! schemathesis over the whole API: see README.md in this folder. Called by `scripts/fuzz`, which installs schemathesis; by
//! itself, as a part of `cargo test`, it has nothing to do and says so.

#![expect(clippy::print_stdout, reason = "this is a program that people read")]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use harness::{Operation, TestApp, estate::Estate, operations};
use serde_json::{Value, json};

/// What is not asked, since nothing could be asked afterwards.
const LEFT_OUT: &[(&str, &str)] = &[
    ("POST /api/auth/logout", "ends the session that asks"),
    ("POST /api/auth/password", "would change what the session rests on"),
    ("PATCH /api/system/maintenance", "refuses all changes from then on"),
];

/// What the command line asks for.
struct Asked {
    schemathesis: String,
    examples: String,
    seed: Option<String>,
    phases: String,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut asked = Self {
            schemathesis: String::new(),
            examples: "50".into(),
            seed: None,
            phases: "examples,coverage,fuzzing,stateful".into(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--schemathesis" => asked.schemathesis = value()?,
                "--examples" => asked.examples = value()?,
                "--seed" => asked.seed = Some(value()?),
                "--phases" => asked.phases = value()?,
                // Flags of libtest, which `cargo test -- …` gives to every test program.
                _ => {}
            }
        }
        Ok((!asked.schemathesis.is_empty()).then_some(asked))
    }
}

fn main() -> ExitCode {
    let ran = Asked::read(std::env::args().skip(1)).and_then(|asked| match asked {
        Some(asked) => run(&asked),
        None => {
            println!("fuzz: skipped, `make fuzz` runs it");
            Ok(true)
        }
    });
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("fuzz: the run itself failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(asked: &Asked) -> Result<bool> {
    let app = TestApp::set_up_with(&[("DEBUG", "true"), ("DATABASE_MAX_CONNECTIONS", "12")]).await;
    let estate = Estate::build(&app).await;
    let folder = tempfile::tempdir()?;
    let document = folder.path().join("openapi.json");
    std::fs::write(&document, serde_json::to_vec(&with_ids(&estate)?)?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = app.another_node().into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    let token = app.access_token().context("nobody is signed in")?;
    let mut command = schemathesis(asked, &document, address, &token);
    let status = tokio::task::spawn_blocking(move || command.status()).await?;
    serving.abort();
    Ok(status.with_context(|| format!("{} cannot be started", asked.schemathesis))?.success())
}

fn schemathesis(asked: &Asked, document: &Path, address: SocketAddr, token: &str) -> Command {
    let mut command = Command::new(&asked.schemathesis);
    command
        // What it keeps to replay failures goes with the folder.
        .current_dir(document.parent().unwrap_or(Path::new(".")))
        .arg("run")
        .arg(document)
        .args(["--url", &format!("http://{address}"), "--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", &asked.phases, "--max-examples", &asked.examples])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_headers_conformance,response_schema_conformance,unsupported_method"])
        .args(["--checks", "allow_header_conformance,ignored_auth,missing_required_header"])
        .args([
            "--workers",
            "2",
            "--request-timeout",
            "30",
            "--generation-database",
            "none",
            "--warnings",
            "off",
        ])
        .args(["--suppress-health-check", "all", "--continue-on-failure", "--no-color"]);
    if let Some(seed) = &asked.seed {
        command.args(["--seed", seed]);
    }
    command
}

/// The document, in which every path leads to something that there is or to something that could be, and without what is left out.
fn with_ids(estate: &Estate) -> Result<Value> {
    let mut document = serde_json::to_value(api::openapi())?;
    let paths = document["paths"].as_object_mut().context("the document has no paths")?;
    for operation in operations() {
        let name = operation.name();
        let item = paths.get_mut(&operation.path).and_then(Value::as_object_mut).context("a path")?;
        let method = operation.method.as_str().to_lowercase();
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
            item.remove(&method);
            continue;
        }
        let parameters = item.get_mut(&method).and_then(|operation| operation.get_mut("parameters"));
        if let Some(parameters) = parameters.and_then(Value::as_array_mut) {
            name_things(parameters, &operation, estate);
        }
    }
    Ok(document)
}

fn name_things(parameters: &mut [Value], operation: &Operation, estate: &Estate) {
    for parameter in parameters.iter_mut().filter(|parameter| parameter["in"] == "path") {
        let end = format!("{{{}}}", parameter["name"].as_str().unwrap_or_default());
        if let Some(path) = operation.things().into_iter().find(|path| path.ends_with(&end)) {
            let thing = estate.thing(path);
            parameter["schema"] = json!({ "type": "string", "enum": [thing.id, thing.nowhere] });
        }
    }
}
