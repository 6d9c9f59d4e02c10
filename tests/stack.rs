//! Whole stacks, from their folders to rendered files: the built-in ones, a small one of ready images,
//! one that nobody has seen before, and many that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use fleet::registry::{Client, Registry};
use fleet::secret::{Secret, generate};
use fleet::stack::{
    BUILTINS, EnvInput, ReleaseContext, RenderInput, Rendered, ResolvedEnv, Stack, StackFiles, image_tag,
    sha256,
};
use fleet::stack_source::load_stack;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const REGISTRY: &str = r#"
[fleet]
name = "suite"
stack = "geoclic"

[defaults]
sentry = { dsn = "https://abc123def456@o1.ingest.sentry.io/42" }

[clients.ville-lyon]
domain = "ville-lyon.example.fr"
aliases = ["lyon.example.fr"]
ip = "192.0.2.10"
email = "admin@ville-lyon.example.fr"
tags = ["prod"]
sentry = { environment = "lyon" }
env = { PUBLIC_NAME = "Ville de Lyon" }

[clients.bourg]
domain = "bourg.example.fr"
ip = "192.0.2.11"
env = { PUBLIC_NAME = "L'Haÿ-les-Roses $1 \"100 %\" #1" }
"#;

fn registry(text: &str) -> Registry {
    Registry::parse(text, "clients.toml").unwrap_or_else(|found| panic!("{found}"))
}

fn client(name: &str) -> Client {
    registry(REGISTRY).client(name).expect("a client of the sample").clone()
}

/// What `fleet` would keep in the vault, always the same for a client.
fn secrets(stack: &Stack, client: &Client) -> BTreeMap<String, Secret<String>> {
    let seed = client.name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    let mut rng = StdRng::seed_from_u64(seed);
    let generated = stack.env.to_generate(|_| false).into_iter();
    let mut all: BTreeMap<_, _> = generated.map(|(name, how)| (name, generate(&how, &mut rng))).collect();
    // What the operator would set: these are required where a stack declares them.
    for (name, value) in [
        ("DATABASE_URL", "postgresql://postgres.ref:pass@pooler.example.com:6543/postgres?pgbouncer=true"),
        ("REDIS_URL", "rediss://default:pass@redis.example.com:6379"),
        ("SUPABASE_SERVICE_KEY", "eyJhbGciOiJIUzI1NiJ9.role.signature"),
    ] {
        if stack.env.vault_names().any(|known| known == name) {
            all.insert(name.to_owned(), Secret::from(value));
        }
    }
    all
}

fn resolve(stack: &Stack, client: &Client, secrets: &BTreeMap<String, Secret<String>>) -> ResolvedEnv {
    let input = EnvInput { client, fleet: "suite", registry: "clients.toml", secrets };
    stack.env.resolve(input).unwrap_or_else(|found| panic!("{found}"))
}

fn images(stack: &Stack, version: &str) -> BTreeMap<String, String> {
    let tag =
        |service: &str| image_tag(&stack.name, service, &sha256(format!("{service} {version}").as_bytes()));
    stack.built_services().map(|(service, _)| (service.name.clone(), tag(&service.name))).collect()
}

fn render_as(stack: &Stack, client: &Client, id: &str, images: &BTreeMap<String, String>) -> Rendered {
    let env = resolve(stack, client, &secrets(stack, client));
    let release = ReleaseContext::new(&stack.name, id, id);
    let input =
        RenderInput { client, fleet: "suite", env: &env, release: &release, images, source_digest: None };
    stack.render(&input).unwrap_or_else(|found| panic!("{found}"))
}

fn render(stack: &Stack, client: &Client) -> Rendered {
    render_as(stack, client, "20260101T000000Z", &images(stack, "1"))
}

fn text<'r>(rendered: &'r Rendered, destination: &str) -> &'r str {
    std::str::from_utf8(&rendered.file(destination).expect(destination).content).expect("text")
}

fn geoclic() -> Stack {
    load_stack(Path::new("tests"), "geoclic").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_built_in_stack_is_embedded_whole_and_loads() {
    let mut folders: Vec<_> =
        std::fs::read_dir("templates").unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let names: Vec<_> = folders.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let mut embedded: Vec<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
    embedded.sort_unstable();
    assert_eq!(embedded, names, "src/stack/builtin.rs lists every folder of templates/");
    for builtin in BUILTINS {
        let folder = Path::new("templates").join(builtin.name);
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(&folder).into_iter().map(Result::unwrap) {
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                assert_eq!(
                    builtin.read(&name).as_deref(),
                    Some(&*std::fs::read(entry.path()).unwrap()),
                    "{name}"
                );
                files.push(name);
            }
        }
        assert_eq!(files.len(), builtin.paths().len());
        let stack = load_stack(Path::new("tests"), builtin.name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stack.name, builtin.name);
    }
}

#[test]
fn geoclic_renders_for_two_clients() {
    let stack = geoclic();
    let lyon = render(&stack, &client("ville-lyon"));
    insta::assert_snapshot!("geoclic_compose", text(&lyon, "docker-compose.yml"));
    insta::assert_snapshot!("geoclic_nginx", text(&lyon, "nginx/geoclic.conf"));
    insta::assert_snapshot!("geoclic_env", text(&render(&stack, &client("bourg")), ".env"));
}

/// A stack's folder in one text: `=== PATH` begins each file.
struct Sample(BTreeMap<String, Vec<u8>>);

impl Sample {
    fn read(path: &Path) -> Sample {
        let text = std::fs::read_to_string(path).unwrap();
        let mut files = BTreeMap::new();
        for part in text.strip_prefix("=== ").expect("a first file").split("\n=== ") {
            let (name, content) = part.split_once('\n').unwrap_or((part, ""));
            // What a text file cannot hold.
            let content = if content.trim() == "BINARY" {
                vec![0xff, 0xfe]
            } else {
                format!("{content}\n").into_bytes()
            };
            files.insert(name.to_owned(), content);
        }
        Sample(files)
    }
}

impl StackFiles for Sample {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        self.0.get(path).map(|bytes| bytes.as_slice().into())
    }
}

fn samples(folder: &str) -> Vec<(String, Sample)> {
    let entries = std::fs::read_dir(Path::new("tests/stacks").join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), Sample::read(path))).collect()
}

/// Everything of a release in one text, the secret files too: the samples' values are no secrets.
fn everything(rendered: &Rendered) -> String {
    let file = |file: &fleet::stack::RenderedFile| {
        let mounted = file.mounted.as_ref().map(|path| format!(" at {path}")).unwrap_or_default();
        let secret = if file.secret { " secret" } else { "" };
        let text = String::from_utf8_lossy(&file.content);
        format!("=== {} {:04o}{secret}{mounted}\n{text}", file.destination, file.mode)
    };
    rendered.files.iter().map(file).collect()
}

#[test]
fn stacks_that_nobody_has_seen_before_render() {
    for (name, sample) in samples("valid") {
        let stack = Stack::load(&sample, &name).unwrap_or_else(|found| panic!("{found}"));
        let mut client = client("ville-lyon");
        client.env.clear();
        insta::with_settings!({ snapshot_suffix => name, omit_expression => true }, {
            insta::assert_snapshot!("valid", everything(&render(&stack, &client)));
        });
    }
}

#[test]
fn the_other_stacks_render() {
    for (name, snapshot, env) in [
        ("assistant-auto", "assistant_auto", None),
        ("neopro", "neopro", Some(("SUPABASE_URL", "https://abcdefgh.supabase.co"))),
        ("apps/tiny", "tiny", None),
    ] {
        let stack = load_stack(Path::new("tests"), name).unwrap_or_else(|error| panic!("{error}"));
        let mut client = client("ville-lyon");
        client.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        insta::assert_snapshot!(snapshot, everything(&render(&stack, &client)));
    }
}

/// What is wrong with a sample: with its stack.toml, its templates, or for the sample's client.
fn refusal(name: &str, sample: &Sample) -> String {
    let stack = match Stack::load(sample, name) {
        Err(found) => return found.to_string(),
        Ok(stack) => stack,
    };
    let mut client = client("bourg");
    client.env.clear();
    let mut secrets = secrets(&stack, &client);
    if stack.env.variables.contains_key("TOKEN") {
        secrets.entry("TOKEN".to_owned()).or_insert_with(|| Secret::from("correct+horse+battery"));
    }
    let input = EnvInput { client: &client, fleet: "suite", registry: "clients.toml", secrets: &secrets };
    let env = match stack.env.resolve(input) {
        Err(found) => return found.to_string(),
        Ok(env) => env,
    };
    let release = ReleaseContext::new(&stack.name, "1", "1");
    let images = BTreeMap::new();
    let input = RenderInput {
        client: &client,
        fleet: "suite",
        env: &env,
        release: &release,
        images: &images,
        source_digest: None,
    };
    let found = stack.render(&input).expect_err(name).to_string();
    for (name, value) in env.secrets() {
        assert!(!found.contains(value.reveal().as_str()), "{name} is in {found}");
    }
    found
}

#[test]
fn each_invalid_stack_is_refused_with_its_place_and_what_to_do() {
    let all = samples("invalid");
    assert!(all.len() >= 20);
    for (name, sample) in all {
        let found = refusal(&name, &sample);
        assert!(!found.contains("hunter2"), "{name}: {found}");
        insta::with_settings!({ snapshot_suffix => name, omit_expression => true }, {
            insta::assert_snapshot!("invalid", found);
        });
    }
}

/// The lines that differ, as `-old` and `+new`.
fn difference(old: &str, new: &str) -> Vec<String> {
    let diff = similar::TextDiff::from_lines(old, new);
    let changed = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    changed.map(|change| format!("{}{}", change.tag(), change.value().trim())).collect()
}

#[test]
fn an_update_of_one_service_changes_that_service_alone() {
    let stack = geoclic();
    let lyon = client("ville-lyon");
    let old = images(&stack, "1");
    let with = |service: &str| {
        let mut new = old.clone();
        new.insert(service.to_owned(), format!("geoclic/{service}:0123456789ab"));
        new
    };
    let before = render_as(&stack, &lyon, "1", &old);
    let after = render_as(&stack, &lyon, "2", &with("portail"));
    let changed = difference(text(&before, "docker-compose.yml"), text(&after, "docker-compose.yml"));
    assert_eq!(
        changed,
        [format!("-image: \"{}\"", old["portail"]), "+image: \"geoclic/portail:0123456789ab\"".to_owned()]
    );
    for file in [".env", "nginx/geoclic.conf"] {
        assert_eq!(text(&before, file), text(&after, file), "{file}");
    }
    // The API's release is its own build, in Sentry too.
    let after = render_as(&stack, &lyon, "2", &with("api"));
    let changed = difference(text(&before, ".env"), text(&after, ".env"));
    assert_eq!(changed.last().unwrap(), "+SENTRY_RELEASE='geoclic@0123456789ab'");
    assert_eq!(changed.len(), 2);
}

#[test]
fn a_mounted_file_has_another_place_exactly_when_its_content_differs() {
    let stack = geoclic();
    let mut lyon = client("ville-lyon");
    let before = render(&stack, &lyon);
    let place = |rendered: &Rendered| rendered.file("nginx/geoclic.conf").unwrap().mounted.clone().unwrap();
    assert!(text(&before, "docker-compose.yml").contains(&format!("\"{}:/etc/nginx/", place(&before))));
    lyon.env.insert("PUBLIC_NAME".to_owned(), "Lyon".to_owned());
    assert_eq!(place(&render(&stack, &lyon)), place(&before));
    lyon.env.insert("MAX_UPLOAD_MB".to_owned(), "50".to_owned());
    let after = render(&stack, &lyon);
    assert_ne!(place(&after), place(&before));
    let changed = difference(text(&before, "docker-compose.yml"), text(&after, "docker-compose.yml"));
    assert_eq!(changed.len(), 2, "{changed:?}");
}

#[test]
fn two_releases_of_the_same_have_one_digest() {
    let mut sample = Sample(BTreeMap::from([(
        "stack.toml".to_owned(),
        b"name = \"x\"\n[[files]]\ntemplate = \"c\"\ndestination = \"docker-compose.yml\"\n[env.A]\ndefault = \"1\"\n".to_vec(),
    )]));
    let release =
        "# {{ release.id }} {{ release.version }} {{ release.dir }} {{ release.source_dir }} {{ env.A }}\n";
    sample.0.insert("c".to_owned(), release.as_bytes().to_vec());
    let stack = Stack::load(&sample, "x").unwrap();
    let mut client = client("bourg");
    client.env.clear();
    let none = BTreeMap::new();
    let one = render_as(&stack, &client, "1", &none);
    let two = render_as(&stack, &client, "2", &none);
    assert_ne!(text(&one, "docker-compose.yml"), text(&two, "docker-compose.yml"));
    assert_eq!(text(&two, "docker-compose.yml"), "# 2 2 /opt/x/releases/2 /opt/x/releases/2/source 1\n");
    assert_eq!(one.digest, two.digest);
    let images = BTreeMap::from([("web".to_owned(), "x/web:1".to_owned())]);
    assert_ne!(one.digest, render_as(&stack, &client, "1", &images).digest);
    client.env.insert("A".to_owned(), "2".to_owned());
    assert_ne!(one.digest, render_as(&stack, &client, "1", &none).digest);
}

#[test]
fn a_clients_values_are_in_no_other_clients_files() {
    let stack = geoclic();
    let (lyon, bourg) = (client("ville-lyon"), client("bourg"));
    let of_lyon = everything(&render(&stack, &lyon));
    let of_bourg = everything(&render(&stack, &bourg));
    let needles = |client: &Client| {
        let mut needles: Vec<String> = vec![client.name.to_string(), client.domain.to_string()];
        needles.extend(secrets(&stack, client).values().map(|secret| secret.reveal().clone()));
        needles
    };
    for (needle, own, other) in needles(&lyon)
        .into_iter()
        .map(|needle| (needle, &of_lyon, &of_bourg))
        .chain(needles(&bourg).into_iter().map(|needle| (needle, &of_bourg, &of_lyon)))
    {
        assert!(own.contains(&needle) && !other.contains(&needle), "{needle}");
    }
}

#[test]
fn secrets_are_in_secret_files_only_and_in_no_debug_form() {
    let stack = geoclic();
    let lyon = client("ville-lyon");
    let rendered = render(&stack, &lyon);
    let secrets = secrets(&stack, &lyon);
    for (name, secret) in &secrets {
        for file in &rendered.files {
            let holds = String::from_utf8_lossy(&file.content).contains(secret.reveal().as_str());
            assert_eq!(holds, file.destination == ".env", "{name} in {}", file.destination);
            assert_eq!(file.secret, file.destination == ".env");
        }
        assert!(!format!("{rendered:?}").contains(secret.reveal().as_str()), "{name}");
    }
}

#[test]
fn no_line_of_rust_knows_an_application() {
    let mut seen = 0;
    for entry in walkdir::WalkDir::new("src").into_iter().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // The help of the commands gives examples.
        let help = path.starts_with("src/cli");
        let skipped = help || name.ends_with("tests.rs") || path.ends_with("stack/builtin.rs");
        if skipped || !name.ends_with(".rs") {
            continue;
        }
        if path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(path).unwrap();
        // Comments may name an example; code may not.
        let code = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for builtin in BUILTINS {
                assert!(!line.contains(builtin.name), "{}: {line}", path.display());
            }
        }
    }
    assert!(seen > 20);
}
