//! What may be seen of secrets.

use hp_base::Secret;

const HIDDEN: &str = "…";

/// Whether there is a secret, and no more.
pub(super) fn whole(secret: &Secret) -> String {
    if secret.is_empty() { String::new() } else { HIDDEN.to_owned() }
}

/// An address without the password in it. When in doubt where the password ends, more is hidden rather than less.
pub(super) fn url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (login, rest) = match rest.rsplit_once('@') {
        None => (String::new(), rest),
        Some((login, rest)) => match login.split_once(':') {
            Some((user, _)) => (format!("{user}:{HIDDEN}@"), rest),
            None => (format!("{HIDDEN}@"), rest),
        },
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut shown = format!("{scheme}{login}{place}");
    for (at, pair) in query.split('&').enumerate().filter(|(_, pair)| !pair.is_empty()) {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if name.to_lowercase().contains("pass") => {
                shown.push_str(&format!("{name}={HIDDEN}"));
            }
            _ => shown.push_str(pair),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use hp_base::Secret;

    #[test]
    fn addresses_lose_their_passwords() {
        for (url, shown) in [
            ("", ""),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            ("rediss://ada:pw@host:1", "rediss://ada:…@host:1"),
            ("redis://:pw@host", "redis://:…@host"),
            ("redis://pw@host", "redis://…@host"),
            ("redis://ada:p/w@x@host?a=1", "redis://ada:…@host?a=1"),
            ("ada:pw@host", "ada:…@host"),
            (
                "redis-sentinel://u:pw@h:1?sentinelServiceName=m&sentinelPassword=pw&node=h:2",
                "redis-sentinel://u:…@h:1?sentinelServiceName=m&sentinelPassword=…&node=h:2",
            ),
        ] {
            assert_eq!(super::url(url), shown);
        }
    }

    #[test]
    fn of_a_whole_secret_only_its_being_there_is_seen() {
        assert_eq!(super::whole(&Secret::new("pw")), "…");
        assert_eq!(super::whole(&Secret::default()), "");
    }
}
