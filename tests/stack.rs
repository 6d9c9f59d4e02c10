//! Whole stacks, from their folders to rendered files: the built-in ones, a small one of ready images,
//! one that nobody has seen before, and many that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use fleet::registry::{Client, Registry};
use fleet::secret::{Secret, generate};
use fleet::stack::{
    BUILTINS, EnvInput, ReleaseContext, RenderInput, Rendered, ResolvedEnv, Stack, image_tag, sha256,
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
    stack.env.to_generate(|_| false).into_iter().map(|(name, how)| (name, generate(&how, &mut rng))).collect()
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
        use fleet::stack::StackFiles as _;
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
