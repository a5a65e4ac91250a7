//! Signing in with a directory: OpenLDAP's slapd, started for the test on loopback ports of its own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::{TestApp, eventually, free_address, left_out};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// People and groups, as in any company.
const ENTRIES: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=finder,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: finder
userPassword: finders-secret

dn: uid=ada,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ada
cn: Ada (the first) Lovelace*
sn: Lovelace
mail: ada@example.org
userPassword: enchantress of numbers

dn: uid=grace,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: grace
cn: Grace Hopper
sn: Hopper
mail: grace@example.org
userPassword: nanoseconds of wire

dn: cn=admins,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: admins
member: uid=grace,ou=people,dc=example,dc=org

dn: cn=analysts,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: analysts
member: uid=ada,ou=people,dc=example,dc=org
";

/// A running slapd. Ends with the value.
struct Slapd {
    process: Child,
    folder: TempDir,
    plain: u16,
    tls: u16,
    /// Where a branch of the directory is said to be. Nobody may ask there.
    elsewhere: TcpListener,
}

impl Slapd {
    /// `None`, with a reason printed, where there is no slapd.
    async fn start() -> Option<Self> {
        let Some(program) =
            ["/usr/sbin/slapd", "/usr/libexec/slapd"].map(Path::new).into_iter().find(|path| path.exists())
        else {
            left_out("there is no slapd on this machine (scripts/setup --tests installs it)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        // Debian's AppArmor profile goes by the program's path and would keep it out of our folder.
        let own = path.join("slapd");
        // Not by us: another test's child may be born with our descriptor, and what somebody may still write to cannot be run.
        let copied = Command::new("install").arg(program).arg(&own).status().expect("install runs");
        assert!(copied.success(), "{copied}");
        write_certificates(&path);
        fs::create_dir(path.join("data")).expect("a folder");
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
        elsewhere.set_nonblocking(true).expect("it can be asked without waiting");
        let port = elsewhere.local_addr().expect("an address").port();
        let branch = format!(
            "\ndn: ou=branch,ou=people,dc=example,dc=org\nobjectClass: referral\nobjectClass: extensibleObject\n\
             ou: branch\nref: ldap://127.0.0.1:{port}/ou=people,dc=branch,dc=org\n"
        );
        fs::write(path.join("entries.ldif"), ENTRIES.to_owned() + &branch).expect("written");
        let shown = path.display();
        let modules = ["/usr/lib/ldap", "/usr/lib/openldap", "/usr/libexec/openldap"];
        let modules = modules.iter().find(|path| Path::new(path).exists()).expect("slapd's modules");
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\npidfile {shown}/pid\nmodulepath {modules}\n\
             moduleload back_mdb\nTLSCertificateFile {shown}/server.pem\nTLSCertificateKeyFile {shown}/server.key\n\
             database mdb\nsuffix dc=example,dc=org\nrootdn cn=root,dc=example,dc=org\ndirectory {shown}/data\n\
             access to attrs=userPassword by anonymous auth by * none\naccess to * by dn=\"cn=finder,dc=example,dc=org\" read by * none\n"
        );
        fs::write(path.join("slapd.conf"), config).expect("written");
        let loaded = Command::new(&own)
            .args(["-T", "add", "-f"])
            .arg(path.join("slapd.conf"))
            .arg("-l")
            .arg(path.join("entries.ldif"))
            .output()
            .expect("slapd runs");
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let (plain, tls) = (free_address().port(), free_address().port());
        let process = Command::new(&own)
            .arg("-f")
            .arg(path.join("slapd.conf"))
            .args(["-h", &format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}"), "-d", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd runs");
        let slapd = Self { process, folder, plain, tls, elsewhere };
        eventually("slapd listens", Duration::from_secs(30), || async {
            tokio::net::TcpStream::connect(("127.0.0.1", tls)).await.ok()
        })
        .await;
        Some(slapd)
    }

    fn authorities(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may be gone already, which is all we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_certificate = authority.self_signed(&authority_key).expect("signed");
    let server = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).expect("parameters");
    let server_key = KeyPair::generate().expect("a key");
    let issuer = Issuer::new(authority, authority_key);
    let server_certificate = server.signed_by(&server_key, &issuer).expect("signed");
    for (name, text) in [
        ("ca.pem", authority_certificate.pem()),
        ("server.pem", server_certificate.pem()),
        ("server.key", server_key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).expect("written");
    }
}

async fn app_with(url: &str, more: &[(&str, &str)]) -> TestApp {
    let mut settings = vec![
        ("LDAP_URL", url),
        ("LDAP_BASE_DN", "ou=people,dc=example,dc=org"),
        ("LDAP_BIND_DN", "cn=finder,dc=example,dc=org"),
        ("LDAP_BIND_PASSWORD", "finders-secret"),
        ("LDAP_GROUP_BASE_DN", "ou=groups,dc=example,dc=org"),
        ("LDAP_ADMIN_GROUP", "CN=admins, ou=groups, dc=example, dc=org"),
        ("LDAP_ANALYST_GROUP", "cn=analysts,ou=groups,dc=example,dc=org"),
        ("SIGN_INS_PER_MINUTE", "1000"),
    ];
    settings.extend_from_slice(more);
    let mut app = TestApp::set_up_with(&settings).await;
    app.sign_in_as(None);
    app
}

async fn login(app: &TestApp, username: &str, password: &str) -> harness::Answer {
    app.post("/api/auth/login", &json!({ "username": username, "password": password })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_directory_sign_in_with_the_role_of_their_group() {
    let Some(slapd) = Slapd::start().await else { return };
    let authorities = slapd.authorities();
    let authorities = authorities.to_str().expect("utf-8");
    let start_tls = format!("ldap://127.0.0.1:{}", slapd.plain);
    let tls = format!("ldaps://127.0.0.1:{}", slapd.tls);
    for url in [&start_tls, &tls] {
        let app = app_with(url, &[("LDAP_CA_FILE", authorities)]).await;
        assert_eq!(app.get("/api/auth/providers").await.expect(200).json()["ldap_enabled"], true);
        let ada = login(&app, "ada", "enchantress of numbers").await.expect(200).json();
        assert_eq!(
            (&ada["user"]["role"], &ada["user"]["email"]),
            (&json!("analyst"), &json!("ada@example.org"))
        );
        let grace = login(&app, "GRACE", "nanoseconds of wire").await.expect(200).json();
        assert_eq!((&grace["user"]["role"], &grace["user"]["username"]), (&json!("admin"), &json!("grace")));
        let again = login(&app, "ada", "enchantress of numbers").await.expect(200).json();
        assert_eq!(again["user"]["id"], ada["user"]["id"], "one person, one account");
        login(&app, "admin", harness::PASSWORD).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_typed_becomes_a_filter_and_no_empty_password_signs_in() {
    let Some(slapd) = Slapd::start().await else { return };
    let app = app_with(&format!("ldap://127.0.0.1:{}", slapd.plain), &[("LDAP_STARTTLS", "false")]).await;
    let right = "enchantress of numbers";
    for username in [
        "*",
        "a*",
        "ad?",
        "ada)(uid=*",
        "ada)(|(uid=*",
        "*)(uid=*))(|(uid=*",
        "ada)(&)",
        "admin)(&)",
        "ada\\00",
        "ada\\2a",
        "(uid=ada)",
        "ada,ou=people,dc=example,dc=org",
        "uid=ada",
        "\u{430}da",
        "ad\u{430}",
        "",
    ] {
        login(&app, username, right).await.expect(401);
    }
    for password in ["", " ", "wrong", "*", "enchantress of number"] {
        login(&app, "ada", password).await.expect(401);
        // In between, so that no guess has to wait for the ones before.
        login(&app, "ada", right).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_away_or_not_to_be_trusted_is_a_503() {
    let Some(mut slapd) = Slapd::start().await else { return };
    let url = format!("ldaps://127.0.0.1:{}", slapd.tls);
    let untrusted = app_with(&url, &[]).await;
    login(&untrusted, "ada", "enchantress of numbers").await.expect(503);
    let authorities = slapd.authorities();
    let trusted = ("LDAP_CA_FILE", authorities.to_str().expect("utf-8"));
    let wrong = app_with(&url, &[trusted, ("LDAP_BIND_PASSWORD", "not the finders")]).await;
    login(&wrong, "ada", "enchantress of numbers").await.expect(503);
    let app = app_with(&url, &[trusted]).await;
    let token = login(&app, "ada", "enchantress of numbers").await.expect(200).json()["access_token"].clone();
    slapd.process.kill().expect("it ran");
    slapd.process.wait().expect("it ends");
    let answer = login(&app, "ada", "enchantress of numbers").await.expect(503);
    assert_eq!(answer.json(), json!({ "detail": "Internal server error" }));
    login(&app, "admin", harness::PASSWORD).await.expect(200);
    let mut app = app;
    app.sign_in_as(token.as_str().map(str::to_owned));
    app.get("/api/auth/me").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_is_not_followed_with_anybodys_password() {
    let Some(slapd) = Slapd::start().await else { return };
    let url = format!("ldap://127.0.0.1:{}", slapd.plain);
    // Among what is found, and as the whole answer.
    let app = app_with(&url, &[("LDAP_STARTTLS", "false")]).await;
    login(&app, "ada", "enchantress of numbers").await.expect(200);
    login(&app, "somebody-of-the-branch", "any password").await.expect(401);
    let branch = ("LDAP_BASE_DN", "ou=branch,ou=people,dc=example,dc=org");
    let app = app_with(&url, &[("LDAP_STARTTLS", "false"), branch]).await;
    login(&app, "ada", "enchantress of numbers").await.expect(503);
    let asked = slapd.elsewhere.accept();
    assert!(asked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "the branch was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_deactivated_here_stays_outside_whatever_the_directory_says() {
    let Some(slapd) = Slapd::start().await else { return };
    let app = app_with(&format!("ldap://127.0.0.1:{}", slapd.plain), &[("LDAP_STARTTLS", "false")]).await;
    login(&app, "ada", "enchantress of numbers").await.expect(200);
    sqlx::query("update users set is_active = false where username = 'ada'")
        .execute(app.db.pool())
        .await
        .expect("out");
    login(&app, "ada", "enchantress of numbers").await.expect(401);
}
