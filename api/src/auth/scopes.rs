//! What a key can be limited to, beyond its role.
//!
//! A scope is an area and `read` or `write`. The area follows from the path and the need from the method, for
//! every path there is, so that no handler can forget to ask. A key without scopes may do what its role may.

use axum::http::Method;

/// Areas, and the paths that belong to them: the longest prefix decides, and what has none belongs to `system`. `*` is any one part.
const AREAS: &[(&str, &[&str])] = &[
    ("assets", &["/api/assets", "/api/infra", "/api/docker-images", "/api/github"]),
    (
        "findings",
        &[
            "/api/vuln-matches",
            "/api/cves",
            "/api/advisories",
            "/api/summary",
            "/api/alerts",
            "/api/v1/tenants",
        ],
    ),
    ("inventory", &["/api/inventory"]),
    (
        "reports",
        &["/api/reports", "/api/v1/reports", "/api/v1/tenants/*/reports", "/api/export", "/api/v1/documents"],
    ),
    (
        "compliance",
        &[
            "/api/v1/compliance",
            "/api/compliance-policies",
            "/api/compliance-controls",
            "/api/compliance-scopes",
            "/api/evidence-tasks",
        ],
    ),
    (
        "jobs",
        &["/api/jobs", "/api/scan-runs", "/api/schedules", "/api/workers", "/api/queues", "/api/batches"],
    ),
];

const OTHERWISE: &str = "system";

/// Every scope that there is.
pub(crate) fn all() -> impl Iterator<Item = String> {
    AREAS
        .iter()
        .map(|(area, _)| *area)
        .chain([OTHERWISE])
        .flat_map(|area| ["read", "write"].map(|need| format!("{area}:{need}")))
}

/// The scope that a request needs, if `granted` does not have it. Whoever may write may read.
pub(crate) fn missing(granted: &[String], method: &Method, path: &str) -> Option<String> {
    if granted.is_empty() {
        return None;
    }
    let area = area_of(path);
    let write = format!("{area}:write");
    let has = |scope: &str| granted.iter().any(|granted| granted == scope);
    if has(&write) {
        return None;
    }
    if !is_safe(method) {
        return Some(write);
    }
    let read = format!("{area}:read");
    (!has(&read)).then_some(read)
}

/// Methods that change nothing (RFC 9110, section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn area_of(path: &str) -> &'static str {
    let under = |prefix: &str| {
        let mut parts = path.split('/');
        prefix.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
    };
    AREAS
        .iter()
        .flat_map(|(area, prefixes)| prefixes.iter().map(move |prefix| (*area, *prefix)))
        .filter(|(_, prefix)| under(prefix))
        .max_by_key(|(_, prefix)| prefix.len())
        .map_or(OTHERWISE, |(area, _)| area)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(granted: &[&str], method: Method, path: &str) -> Option<String> {
        let granted: Vec<String> = granted.iter().map(|scope| (*scope).to_owned()).collect();
        missing(&granted, &method, path)
    }

    #[test]
    fn a_scope_opens_its_area_and_no_other() {
        assert_eq!(missing_of(&["assets:read"], Method::GET, "/api/assets/1/vulns"), None);
        let elsewhere = missing_of(&["assets:read"], Method::GET, "/api/reports");
        assert_eq!(elsewhere.as_deref(), Some("reports:read"));
        let write = missing_of(&["assets:read"], Method::PATCH, "/api/assets/1");
        assert_eq!(write.as_deref(), Some("assets:write"));
        assert_eq!(missing_of(&["assets:write"], Method::GET, "/api/assets"), None);
        for path in ["/api/v1/tenants/acme-corp/reports", "/api/v1/tenants/acme-corp/reports/generate"] {
            assert_eq!(missing_of(&["reports:write"], Method::POST, path), None);
        }
        let beside = missing_of(&["reports:read"], Method::GET, "/api/v1/tenants/acme-corp");
        assert_eq!(beside.as_deref(), Some("findings:read"));
    }

    #[test]
    fn what_belongs_to_no_area_is_the_systems() {
        let users = missing_of(&["assets:write"], Method::GET, "/api/users");
        assert_eq!(users.as_deref(), Some("system:read"));
        let alike = missing_of(&["assets:write"], Method::GET, "/api/assets-of-others");
        assert_eq!(alike.as_deref(), Some("system:read"));
    }

    #[test]
    fn without_scopes_the_role_decides_alone() {
        assert_eq!(missing_of(&[], Method::DELETE, "/api/reports/1"), None);
    }
}
