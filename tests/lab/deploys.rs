//! What Sentry is told of updates: the release that the application itself reports, and a deploy of each client.

#[path = "../support/http.rs"]
mod http;
#[path = "../sentry/stub.rs"]
#[expect(dead_code, reason = "shared with the tests without hosts, which use more of it")]
mod stub;

use stub::{Fault, Stub, TOKEN};

use super::kit::{Town, town};

/// The town's own registry again, whatever happens; its hosts run nothing of this test's own.
struct Restored<'a>(&'a Town, String);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        self.0.fleet.write("clients.toml", &self.1);
    }
}

#[test]
fn an_update_tells_what_the_application_reports_and_each_deploy_once() {
    let (stub, town) = (Stub::start(), town());
    let fleet = &town.fleet;
    let _restored = Restored(&town, fleet.read("clients.toml"));
    let (one, two) = (town.one.name.as_str(), town.two.name.as_str());
    fleet.edit(
        "clients.toml",
        "[defaults]\n",
        &format!(
            "[fleet.sentry]\nurl = \"{}\"\ntoken = {{ secret = \"TOKEN\" }}\n\n\
             [defaults]\nsentry = {{ org = \"acme\", project = \"geoclic-api\" }}\n",
            stub.url
        ),
    );
    fleet.run_with(&["secrets", "set", "--fleet", "TOKEN"], TOKEN.as_bytes()).expect(0);
    let source = "app/api/main.py";
    fleet.write(source, &format!("{}\n# {}\n", fleet.read(source), stub.url));

    // Every answer to a deploy is lost: the update is done all the same, and says what is left.
    stub.state().fault = Fault::LostAnswer;
    let lost = fleet.run(&["update", "--all", "--yes", "--json"]).expect(0);
    let warning = lost.records().into_iter().find(|event| {
        let text = event["message"].as_str().unwrap_or_default();
        event["type"] == "warning" && text.starts_with("Sentry was not told of releases and deploys")
    });
    assert!(warning.is_some(), "{}", lost.stdout);
    stub.state().fault = Fault::None;

    // The next one has nothing to change. It asks what arrived, and makes no second deploy of it.
    let told = || {
        let state = stub.state();
        assert_eq!(state.releases.len(), 1, "{:?}", state.releases);
        let (version, release) = state.releases.first_key_value().expect("one");
        assert_eq!((release.projects.join(" "), release.finalised), ("geoclic-api".to_owned(), 1));
        let environment =
            |deploy: &serde_json::Value| deploy["environment"].as_str().unwrap_or_default().to_owned();
        let mut deploys: Vec<String> = release.deploys.iter().map(environment).collect();
        deploys.sort();
        (version.clone(), deploys)
    };
    let (version, before) = told();
    for host in town.hosts() {
        lost.outcome(&host.name, "changed");
        assert_eq!(host.exec("geoclic", "api", "printenv SENTRY_RELEASE").stdout.trim(), version);
    }
    let mut both = [one, two];
    both.sort_unstable();
    assert_eq!(before, both, "they arrived, and nobody heard so");
    let next = fleet.run(&["update", "--all", "--yes", "--json"]).expect(0);
    for client in [one, two] {
        next.outcome(client, "unchanged");
    }
    assert_eq!(told(), (version.clone(), before));
    let asked = stub.state().requests.len();
    fleet.run(&["update", "--all", "--yes"]).expect(0);
    assert_eq!(stub.state().requests.len(), asked, "nothing is left to tell");

    // The token is nowhere but in its place.
    let mut said: Vec<String> =
        [lost, next].iter().flat_map(|ran| [ran.stdout.clone(), ran.stderr.clone()]).collect();
    for entry in walkdir::WalkDir::new(fleet.path(".fleet")).into_iter().flatten() {
        said.extend(std::fs::read_to_string(entry.path()).ok());
    }
    assert!(said.iter().any(|text| text.contains(&version)), "the search would find it");
    assert!(said.iter().all(|text| !text.contains(TOKEN)));
}
