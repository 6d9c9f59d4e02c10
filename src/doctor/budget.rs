//! How many certificates a fleet may ask for. Limits of Let's Encrypt, November 2026
//! (<https://letsencrypt.org/docs/rate-limits/>): 50 for a registered domain in 7 days, 5 for exactly the same
//! names in 7 days, 300 orders of one account in 3 hours. Renewals do not count.

use std::collections::BTreeMap;

use super::{Area, Finding};

const PER_DOMAIN: usize = 50;
const PER_ACCOUNT: usize = 300;

/// Second labels below which names are registered, in domains of countries: `gouv.fr`, `co.uk`.
const SHARED: &[&str] = &[
    "ac", "asso", "co", "com", "edu", "go", "gob", "gouv", "gov", "gv", "ltd", "me", "net", "ne", "nom",
    "or", "org", "plc", "prd", "sch", "tm",
];

/// The registered domain of a name: its last two labels, or three where the last but one is shared by many, as
/// in `ville.gouv.fr`. A simplification: the Public Suffix List has thousands of exceptions, and counting too few
/// names together only makes the estimate of one too friendly.
#[must_use]
pub fn registered(domain: &str) -> &str {
    let dots: Vec<usize> = domain.match_indices('.').map(|(at, _)| at).collect();
    let labels: Vec<&str> = domain.split('.').collect();
    let shared = match labels.as_slice() {
        [.., second, last] => last.len() == 2 && SHARED.contains(second),
        _ => false,
    };
    let keep = if shared { 3 } else { 2 };
    match labels.len().checked_sub(keep) {
        Some(0) | None => domain,
        Some(skip) => domain.get(dots[skip - 1] + 1..).unwrap_or(domain),
    }
}

/// Findings for clients whose certificates are still to be obtained, by their domains. Only for Let's Encrypt:
/// other authorities have limits of their own.
#[must_use]
pub fn budget(server: &str, without: &[&str]) -> Vec<Finding> {
    if !server.contains("letsencrypt.org") || server.contains("staging") {
        return Vec::new();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for domain in without {
        *counts.entry(registered(domain)).or_default() += 1;
    }
    let mut findings: Vec<Finding> = counts
        .into_iter()
        .filter(|(_, count)| *count > PER_DOMAIN)
        .map(|(domain, count)| {
            let weeks = count.div_ceil(PER_DOMAIN);
            Finding::warning(
                Area::Certificate,
                format!("{count} clients below {domain} have no certificate yet, and Let's Encrypt issues {PER_DOMAIN} a week for it"),
            )
            .why(format!("provisioning all of them takes {weeks} weeks; a refusal lasts until older ones are a week old"))
            .remedy("provision at most 50 a week (--tag), ask Let's Encrypt for a higher limit, or give clients domains of their own")
        })
        .collect();
    if without.len() > PER_ACCOUNT {
        findings.push(
            Finding::warning(
                Area::Certificate,
                format!(
                    "{} clients have no certificate yet, and an account may order {PER_ACCOUNT} in 3 hours",
                    without.len()
                ),
            )
            .remedy("provision in parts, with --tag or by name, a few hours apart"),
        );
    }
    findings
}
