//! What a run did besides its outcomes: services that were away for a while, images that were built.

use super::super::style::{Look, Role};
use super::super::text::{self, Line};
use super::{finish, folded, most};
use crate::event::{EventKind, Report};

/// How long the services that are stopped first were away, each in one line for all clients.
pub(super) fn render(report: &Report, look: &Look) -> String {
    let mut services: Vec<(&str, Vec<(f64, &str)>)> = Vec::new();
    for host in &report.hosts {
        for (service, seconds) in &host.away {
            let one = (*seconds, host.client.as_str());
            match services.iter_mut().find(|(known, _)| known == service) {
                Some((_, list)) => list.push(one),
                None => services.push((service, vec![one])),
            }
        }
    }
    let mut rows: Vec<((f64, &str), &str, usize)> = services
        .iter()
        .filter_map(|(service, list)| {
            let longest = list.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((longest, *service, list.len()))
        })
        .collect();
    rows.sort_by(|a, b| b.0.0.total_cmp(&a.0.0));
    let shown = rows.len().min(most(look));
    let mut lines: Vec<Line> = rows[..shown]
        .iter()
        .map(|((seconds, client), service, clients)| {
            let who = match clients {
                1 => format!(" on {}", text::flat(client)),
                more => format!(" at most ({}, of {more} clients)", text::flat(client)),
            };
            Line::new()
                .with(Role::Strong, text::flat(service))
                .with(Role::Text, format!(" was away for {}{who}", text::seconds(*seconds)))
        })
        .collect();
    lines.extend(folded(rows.len() - shown, look));
    finish(lines, look)
}

/// One line about an image that is built here, or was.
pub(in super::super) fn image(kind: &EventKind) -> String {
    match kind {
        EventKind::ImageBuilding { image, platform } => {
            text::flat(&format!("building {image} ({platform}) on this machine ..."))
        }
        EventKind::ImageBuilt { image, platform, seconds, layers, bytes } => text::flat(&format!(
            "built {image} ({platform}) in {}: {}, {}",
            text::seconds(*seconds),
            text::count(*layers, "layer"),
            text::bytes(*bytes)
        )),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::style::tests::look;
    use super::*;
    use crate::event::{HostReport, Outcome};

    fn host(client: &str, away: &[(&str, f64)]) -> HostReport {
        HostReport {
            client: client.into(),
            outcome: Outcome::Unchanged,
            seconds: 1.0,
            recorded_host_key: None,
            warnings: Vec::new(),
            away: away.iter().map(|(service, seconds)| ((*service).to_owned(), *seconds)).collect(),
        }
    }

    #[test]
    fn the_longest_absence_of_each_service_is_told_with_its_client() {
        let hosts = vec![
            host("ville-lyon", &[("worker", 2.1), ("cache", 1.0)]),
            host("ville-nice", &[("worker", 11.4)]),
            host("ville-brest", &[]),
        ];
        let report = Report { hosts, ..Report::default() };
        insta::assert_snapshot!(render(&report, &look(80, 50)), @r"
        worker was away for 11 s at most (ville-nice, of 2 clients)
        cache was away for 1.0 s on ville-lyon
        ");
        assert_eq!(render(&Report::default(), &look(80, 50)), "");
    }
}
