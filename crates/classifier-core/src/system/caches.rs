//! The caches that a configuration asks for, as far as this build has them.

use std::sync::Arc;

use cache_tiers::{
    CacheLevel, CacheTier, MemoryConfig, MemoryTier, TieredBuilder, TieredCache, TieredConfig,
};
use hp_base::Clock;

use super::CachedAnswer;
use super::background::Background;
use super::lower::LowerTiers;
use crate::config::Config;
use crate::error::Result;
use crate::types::Classification;

/// A cache that the configuration asks for and that there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCache {
    /// Which one.
    pub level: CacheLevel,
    /// Why there is none, and what to do about it.
    pub reason: String,
}

/// The tier in memory, where the system has made it itself.
pub(super) type Memory = Arc<MemoryTier<CachedAnswer>>;

/// What a system keeps answers in.
pub(super) struct Caches {
    pub(super) memory: Option<Memory>,
    pub(super) cache: Arc<TieredCache<CachedAnswer>>,
    pub(super) lower: LowerTiers,
    pub(super) background: Option<Background>,
    pub(super) missing: Vec<MissingCache>,
}

impl Caches {
    /// A cache that somebody else has built.
    pub(super) fn given(cache: Arc<TieredCache<CachedAnswer>>, config: &Config) -> Result<Self> {
        // With work of its own in the background it has been built in a runtime; stale answers want one here.
        let background = needs_renewing(config).then(Background::start).transpose()?;
        Ok(Self { memory: None, cache, lower: LowerTiers::default(), background, missing: Vec::new() })
    }
}

/// One tier of somebody else's.
pub(super) fn around(
    tier: Arc<dyn CacheTier<CachedAnswer>>,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Caches> {
    let cache = TieredCache::builder(clock.clone()).config(tiered(config)).memory(tier).build();
    Caches::given(Arc::new(cache), config)
}

/// The tiers of the configuration.
pub(super) fn configured(config: &Config, clock: &Arc<dyn Clock>) -> Result<Caches> {
    let mut missing = Vec::new();
    let wants_disk = disk::is_wanted(config, &mut missing);
    let wants_remote = remote::is_wanted(config, &mut missing);
    for cache in &missing {
        tracing::warn!(level = %cache.level, reason = cache.reason, "a cache is missing");
    }
    let background = (wants_disk || wants_remote || needs_renewing(config)).then(Background::start);
    let background = background.transpose()?;
    let mut lower = LowerTiers::default();
    let memory = memory(config, clock);
    let cache = {
        let _entered = background.as_ref().map(Background::enter);
        let mut builder = TieredCache::builder(clock.clone()).config(tiered(config)).memory(memory.clone());
        if wants_disk {
            builder = disk::add(builder, &mut lower, config, clock);
        }
        if wants_remote {
            builder = remote::add(builder, &mut lower, config, clock)?;
        }
        builder.build()
    };
    Ok(Caches { memory: Some(memory), cache: Arc::new(cache), lower, background, missing })
}

fn needs_renewing(config: &Config) -> bool {
    !config.stale_while_revalidate.is_zero()
}

fn tiered(config: &Config) -> TieredConfig {
    TieredConfig {
        stale_while_revalidate: config.stale_while_revalidate,
        max_queued: config.write_queue,
        ..TieredConfig::default()
    }
}

fn memory(config: &Config, clock: &Arc<dyn Clock>) -> Memory {
    let l1 = MemoryConfig {
        max_entries: config.l1.max_entries,
        max_bytes: config.l1.max_bytes,
        ttl: config.l1.ttl.saturating_add(config.stale_while_revalidate),
        ttl_jitter: config.l1.ttl_jitter,
    };
    Arc::new(MemoryTier::new(l1, clock.clone()).with_weigher(Classification::weigh))
}

#[cfg(feature = "disk")]
mod disk {
    //! The tier on disk.

    use std::path::PathBuf;

    use cache_tiers::{DiskConfig, DiskTier};

    use super::{Arc, CacheLevel, CachedAnswer, Clock, Config, LowerTiers, MissingCache, TieredBuilder};
    use crate::system::AnswerCodec;

    pub(super) fn is_wanted(config: &Config, missing: &mut Vec<MissingCache>) -> bool {
        if config.l2.enabled && config.l2.folder().is_none() {
            let reason =
                "there is no folder for it: neither XDG_CACHE_HOME nor HOME is set; set l2_cache_path";
            missing.push(MissingCache { level: CacheLevel::L2Persistent, reason: reason.to_owned() });
        }
        config.l2.enabled && config.l2.folder().is_some()
    }

    pub(super) fn add(
        builder: TieredBuilder<CachedAnswer>,
        lower: &mut LowerTiers,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> TieredBuilder<CachedAnswer> {
        let Some(path) = config.l2.folder() else { return builder };
        let tier = Arc::new(DiskTier::new(translated(config, path), Arc::new(AnswerCodec), clock.clone()));
        lower.disk = Some(tier.clone());
        builder.disk(tier.clone()).notes(tier)
    }

    fn translated(config: &Config, path: PathBuf) -> DiskConfig {
        DiskConfig {
            max_bytes: config.l2.max_bytes,
            ttl: config.l2.ttl.saturating_add(config.stale_while_revalidate),
            block_cache_bytes: usize::try_from(config.l2.block_cache_bytes).unwrap_or(usize::MAX),
            ..DiskConfig::new(path)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_setting_reaches_the_tier() {
            let flags = [
                ("l2_cache_path", "/somewhere"),
                ("l2_cache_size_mb", "17"),
                ("l2_cache_ttl", "8"),
                ("l2_block_cache_mb", "7"),
            ];
            let config = crate::system::caches::tests::config(&flags);
            let expected = DiskConfig {
                max_bytes: 17 << 20,
                ttl: std::time::Duration::from_secs(8),
                block_cache_bytes: 7 << 20,
                ..DiskConfig::new("/somewhere")
            };
            assert_eq!(translated(&config, config.l2.folder().unwrap()), expected);
        }
    }
}

#[cfg(not(feature = "disk"))]
mod disk {
    //! No tier on disk.

    use super::{Arc, CacheLevel, CachedAnswer, Clock, Config, LowerTiers, MissingCache, TieredBuilder};

    pub(super) fn is_wanted(config: &Config, missing: &mut Vec<MissingCache>) -> bool {
        if config.l2.enabled {
            let reason = "this build has no cache on disk; build with the feature `disk`, or set l2_cache_enabled = false";
            missing.push(MissingCache { level: CacheLevel::L2Persistent, reason: reason.to_owned() });
        }
        false
    }

    pub(super) fn add(
        builder: TieredBuilder<CachedAnswer>,
        _lower: &mut LowerTiers,
        _config: &Config,
        _clock: &Arc<dyn Clock>,
    ) -> TieredBuilder<CachedAnswer> {
        builder
    }
}

#[cfg(feature = "remote")]
mod remote {
    //! The tier on a server.

    use std::time::Duration;

    use cache_tiers::{RemoteConfig, RemoteTier};

    use super::{Arc, CachedAnswer, Clock, Config, LowerTiers, MissingCache, Result, TieredBuilder};
    use crate::error::{Error, ErrorKind};
    use crate::system::AnswerCodec;

    pub(super) fn is_wanted(config: &Config, _missing: &mut [MissingCache]) -> bool {
        config.l3.is_asked_for()
    }

    pub(super) fn add(
        builder: TieredBuilder<CachedAnswer>,
        lower: &mut LowerTiers,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<TieredBuilder<CachedAnswer>> {
        let tier = RemoteTier::new(translated(config)?, Arc::new(AnswerCodec), clock.clone());
        let tier = Arc::new(tier.map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("Redis: {error}")).with_source(error)
        })?);
        lower.remote = Some(tier.clone());
        Ok(builder.remote(tier.clone()).replicas(tier.clone()).leases(tier))
    }

    fn translated(config: &Config) -> Result<RemoteConfig> {
        let l3 = &config.l3;
        let password = l3.password()?;
        Ok(RemoteConfig {
            url: l3.url.clone(),
            username: l3.username.clone(),
            password,
            ca_file: l3.ca_file.clone(),
            prefix: l3.prefix.clone(),
            pool_size: l3.pool_size,
            operation_timeout: l3.timeout,
            connect_timeout: l3.timeout.max(Duration::from_secs(2)),
            ttl: l3.ttl.saturating_add(config.stale_while_revalidate),
            compress_above: l3.compress_above,
            ..RemoteConfig::default()
        })
    }

    #[cfg(test)]
    mod tests {
        use hp_base::Secret;

        use super::*;

        #[test]
        fn every_setting_reaches_the_tier() {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("password");
            std::fs::write(&file, "from the file\r\n").unwrap();
            let flags = [
                ("redis_url", "rediss://host:1"),
                ("redis_username", "ada"),
                ("redis_password", "given"),
                ("redis_ca_file", "ca.pem"),
                ("redis_prefix", "pre"),
                ("redis_pool_size", "3"),
                ("redis_timeout_ms", "2500"),
                ("l3_cache_ttl", "5"),
                ("l3_compress_above_bytes", "6"),
            ];
            let expected = RemoteConfig {
                url: Secret::new("rediss://host:1"),
                username: "ada".to_owned(),
                password: Secret::new("given"),
                ca_file: Some("ca.pem".into()),
                prefix: "pre".to_owned(),
                pool_size: 3,
                operation_timeout: Duration::from_millis(2500),
                connect_timeout: Duration::from_millis(2500),
                ttl: Duration::from_secs(5),
                compress_above: 6,
                ..RemoteConfig::default()
            };
            let config = crate::system::caches::tests::config(&flags);
            assert_eq!(translated(&config).unwrap(), expected);

            let file = [("redis_password_file", file.to_str().unwrap())];
            let config = crate::system::caches::tests::config(&[&flags[..], &file].concat());
            assert_eq!(translated(&config).unwrap().password, Secret::new("from the file"));
            let config = crate::system::caches::tests::config(&[("redis_password_file", "/nowhere/at/all")]);
            assert_eq!(translated(&config).unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}

#[cfg(not(feature = "remote"))]
mod remote {
    //! No tier on a server.

    use super::{
        Arc, CacheLevel, CachedAnswer, Clock, Config, LowerTiers, MissingCache, Result, TieredBuilder,
    };

    pub(super) fn is_wanted(config: &Config, missing: &mut Vec<MissingCache>) -> bool {
        if config.l3.is_asked_for() {
            let reason =
                "this build has no cache on Redis; build with the feature `remote`, or leave redis_url empty";
            missing.push(MissingCache { level: CacheLevel::L3Distributed, reason: reason.to_owned() });
        }
        false
    }

    pub(super) fn add(
        builder: TieredBuilder<CachedAnswer>,
        _lower: &mut LowerTiers,
        _config: &Config,
        _clock: &Arc<dyn Clock>,
    ) -> Result<TieredBuilder<CachedAnswer>> {
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use hp_base::ManualClock;

    use super::*;
    use crate::config::Layers;

    pub(super) fn config(flags: &[(&str, &str)]) -> Config {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Layers { flags: flags.iter().map(owned).collect(), ..Layers::default() }.resolve().unwrap().config
    }

    #[test]
    fn memory_alone_needs_no_thread() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let caches = configured(&config(&[("l2_cache_enabled", "false")]), &clock).unwrap();
        assert!(caches.background.is_none() && caches.missing.is_empty());
        let renewing = [("l2_cache_enabled", "false"), ("stale_while_revalidate_seconds", "9")];
        assert!(configured(&config(&renewing), &clock).unwrap().background.is_some());
    }

    #[test]
    fn what_the_queues_and_stale_answers_are_told() {
        let flags = [("cache_write_queue", "77"), ("stale_while_revalidate_seconds", "9")];
        let tiered = tiered(&config(&flags));
        assert_eq!((tiered.max_queued, tiered.stale_while_revalidate.as_secs()), (77, 9));
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_build_without_redis_says_so() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let flags = [("l2_cache_enabled", "false"), ("redis_url", "redis://localhost")];
        let missing = configured(&config(&flags), &clock).unwrap().missing;
        assert_eq!(missing[0].level, CacheLevel::L3Distributed);
        assert!(missing[0].reason.contains("build with the feature `remote`"), "{missing:?}");
        let off = [("l3_cache_enabled", "false")];
        let missing = configured(&config(&[&flags[..], &off].concat()), &clock).unwrap().missing;
        assert_eq!(missing, []);
    }

    #[cfg(not(feature = "disk"))]
    #[test]
    fn a_build_without_a_disk_says_so() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let missing = configured(&config(&[]), &clock).unwrap().missing;
        assert_eq!(missing[0].level, CacheLevel::L2Persistent);
        assert!(missing[0].reason.contains("build with the feature `disk`"), "{missing:?}");
    }
}
