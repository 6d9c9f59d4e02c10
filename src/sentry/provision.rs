//! Finds a project on the server, or makes it, and a key of it.

use serde_json::{Value as Json, json};

use super::api::{Api, ApiError, Kind, Purpose};
use super::reading::{Key, word};
use crate::registry::values::{Dsn, Slug};

/// Pages of a list that are read before it is given up.
const PAGES: usize = 20;

/// What shall be there.
pub struct Wanted<'a> {
    /// None on Bugsink, which has no organisations.
    pub org: Option<&'a Slug>,
    pub project: &'a Slug,
    pub team: Option<&'a str>,
    /// Whether what is not there is made.
    pub make: bool,
}

/// What is there now.
#[derive(Debug)]
pub struct Made {
    pub dsn: Dsn,
    pub made_project: bool,
    pub made_key: bool,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("there is no project {0} yet")]
    NoProject(String),
    #[error("a new project belongs to a team, and {0}")]
    Team(String, Vec<String>),
    #[error("the organisation is not known")]
    NoOrganisation,
    #[error("project {0} has no key that is a DSN")]
    NoKey(String),
}

impl SetupError {
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            SetupError::Api(error) => error.hint(),
            SetupError::NoProject(_) => "without --dry-run it is made".to_owned(),
            SetupError::Team(_, teams) if teams.is_empty() => "make a team on the server first".to_owned(),
            SetupError::Team(_, teams) => format!("say which: --team {}", teams.join(", --team ")),
            SetupError::NoOrganisation => {
                "name it with --org: the short name in the address of its page".to_owned()
            }
            SetupError::NoKey(_) => "make one in the project's settings, under Client Keys".to_owned(),
        }
    }
}

impl Api {
    /// Finds or makes the project and an active key.
    ///
    /// # Errors
    /// As [`SetupError`] says.
    pub fn set_up(&self, wanted: &Wanted<'_>) -> Result<Made, SetupError> {
        match self.kind()? {
            Kind::Sentry => self.set_up_in_sentry(wanted),
            Kind::Bugsink => self.set_up_in_bugsink(wanted),
        }
    }

    fn set_up_in_sentry(&self, wanted: &Wanted<'_>) -> Result<Made, SetupError> {
        let Some(org) = wanted.org else { return Err(SetupError::NoOrganisation) };
        let name = format!("{org}/{}", wanted.project);
        let path = format!("/api/0/projects/{org}/{}", wanted.project);
        let what = format!("show project {name}");
        let purpose = Purpose { what: &what, scope: "project:read" };
        let made_project = match self.get(&format!("{path}/"), purpose) {
            Ok(_) => false,
            Err(error) if error.is_unknown() && !wanted.make => return Err(SetupError::NoProject(name)),
            Err(error) if error.is_unknown() => {
                self.make_in_sentry(org, wanted)?;
                true
            }
            Err(error) => return Err(error.into()),
        };
        let active = |keys: Vec<Key>| keys.into_iter().find(|key| key.active).and_then(|key| key.dsn);
        if let Some(dsn) = active(self.keys(&path, &name)?) {
            return Ok(Made { dsn, made_project, made_key: false });
        }
        if !wanted.make {
            return Err(SetupError::NoKey(name));
        }
        let what = format!("make a key of {name}");
        let purpose = Purpose { what: &what, scope: "project:write" };
        let key = self.post(&format!("{path}/keys/"), &json!({ "name": "fleet" }), purpose)?;
        let dsn = key["dsn"]["public"].as_str().and_then(|text| Dsn::parse(text).ok());
        let dsn = dsn.ok_or(SetupError::NoKey(name))?;
        Ok(Made { dsn, made_project, made_key: true })
    }

    fn make_in_sentry(&self, org: &Slug, wanted: &Wanted<'_>) -> Result<(), SetupError> {
        let what = format!("list the teams of {org}");
        let purpose = Purpose { what: &what, scope: "org:read or team:read" };
        let teams = self.get(&format!("/api/0/organizations/{org}/teams/"), purpose)?;
        let teams = teams.as_array().ok_or_else(|| self.shape(&what))?;
        // It goes into a path.
        let team = Slug::parse(&choose(wanted.team, teams, "slug")?).map_err(|_| self.shape(&what))?;
        let what = format!("make project {org}/{} in team {team}", wanted.project);
        let purpose = Purpose { what: &what, scope: "project:write" };
        let body = json!({ "name": wanted.project, "slug": wanted.project });
        match self.post(&format!("/api/0/teams/{org}/{team}/projects/"), &body, purpose) {
            // Somebody else was quicker.
            Err(error) if !error.is_conflict() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn set_up_in_bugsink(&self, wanted: &Wanted<'_>) -> Result<Made, SetupError> {
        if let Some(dsn) = self.in_bugsink(wanted.project)? {
            return Ok(Made { dsn, made_project: false, made_key: false });
        }
        if !wanted.make {
            return Err(SetupError::NoProject(wanted.project.to_string()));
        }
        let purpose = Purpose { what: "list the teams", scope: "teams:read" };
        let teams = self.pages("/api/canonical/0/teams/", purpose)?;
        let name = choose(wanted.team, &teams, "name")?;
        let team = teams.iter().find(|team| word(&team["name"]) == name);
        let team = team.map(|team| team["id"].clone()).unwrap_or_default();
        let what = format!("make project {}", wanted.project);
        let purpose = Purpose { what: &what, scope: "projects:manage" };
        self.post("/api/canonical/0/projects/", &json!({ "team": team, "name": wanted.project }), purpose)?;
        let dsn = self.in_bugsink(wanted.project)?;
        let dsn = dsn.ok_or_else(|| SetupError::NoKey(wanted.project.to_string()))?;
        Ok(Made { dsn, made_project: true, made_key: true })
    }

    fn in_bugsink(&self, project: &Slug) -> Result<Option<Dsn>, ApiError> {
        let purpose = Purpose { what: "list the projects", scope: "projects:read" };
        let all = self.pages("/api/canonical/0/projects/", purpose)?;
        let found = all.iter().find(|one| one["slug"] == project.as_str() || one["name"] == project.as_str());
        Ok(found.and_then(|found| Dsn::parse(found["dsn"].as_str()?).ok()))
    }

    /// All of a list of Bugsink's. Of its links only what stands behind the question mark is followed.
    fn pages(&self, path: &str, purpose: Purpose<'_>) -> Result<Vec<Json>, ApiError> {
        let (mut all, mut query) = (Vec::new(), String::new());
        for _ in 0..PAGES {
            let page = self.get(&format!("{path}{query}"), purpose)?;
            all.extend(page["results"].as_array().ok_or_else(|| self.shape(purpose.what))?.iter().cloned());
            match page["next"].as_str().and_then(|next| next.split_once('?')) {
                Some((_, rest)) if rest.bytes().all(|b| b.is_ascii_graphic() && b != b'#') => {
                    query = format!("?{rest}");
                }
                _ => break,
            }
        }
        Ok(all)
    }
}

/// The team that was named, or the only one there is.
fn choose(named: Option<&str>, teams: &[Json], key: &str) -> Result<String, SetupError> {
    let names: Vec<String> =
        teams.iter().map(|team| word(&team[key])).filter(|name| !name.is_empty()).collect();
    match (named, names.as_slice()) {
        (Some(named), names) if names.iter().any(|name| name == named) => Ok(named.to_owned()),
        (Some(named), _) => Err(SetupError::Team(format!("there is no team {named}"), names)),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(SetupError::Team("there is none".to_owned(), names)),
        (None, many) => Err(SetupError::Team(format!("there are {}", many.len()), names)),
    }
}
