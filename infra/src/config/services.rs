//! The services that several nodes share.

use std::{collections::BTreeMap, time::Duration};

use actors::runtime::publisher::ChangesFormat;
use schemas::UserName;
use serde::Deserialize;

use crate::{
    kafka::{GroupProtocol, KafkaSettings, RegistrySettings},
    postgres::PostgresSettings,
};

/// Apache Kafka.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub brokers: Option<String>,
    /// Stands before every topic's and group's name.
    pub prefix: String,
    /// Partitions of each topic of commands and outcomes; fixed once there is data.
    pub partitions: i32,
    /// Replicas of the topics that `topics create` makes.
    pub replication: i32,
    /// A node that is not heard for so many milliseconds loses its partitions.
    pub session_timeout_ms: u64,
    /// Who assigns partitions to nodes.
    pub group_protocol: GroupProtocol,
    /// How the changes for partners are written.
    pub changes: ChangesFormat,
    /// Further properties of librdkafka, by their own names.
    pub properties: BTreeMap<String, String>,
}

/// The schema registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// The address of its API (Confluent's), such as `http://host:8081`.
    pub url: Option<String>,
}

impl KafkaConfig {
    pub(super) fn settings(
        &self,
        partners: Vec<UserName>,
        has_bridges: bool,
        registry: &RegistryConfig,
    ) -> Option<KafkaSettings> {
        let registry =
            registry.url.clone().map(|url| RegistrySettings { url, prefix: self.prefix.clone() });
        Some(KafkaSettings {
            brokers: self.brokers.clone()?,
            prefix: self.prefix.clone(),
            partitions: self.partitions,
            replication: self.replication,
            session_timeout: Duration::from_millis(self.session_timeout_ms),
            group_protocol: self.group_protocol,
            properties: self.properties.clone(),
            partners,
            has_bridges,
            registry,
        })
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: None,
            prefix: "switchyard.".into(),
            partitions: 64,
            replication: 3,
            session_timeout_ms: 45_000,
            group_protocol: GroupProtocol::Classic,
            changes: ChangesFormat::Avro,
            properties: BTreeMap::new(),
        }
    }
}

/// PostgreSQL.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: Option<String>,
    /// A streaming replica for lists.
    pub replica_url: Option<String>,
    /// The replica is left alone while it is so many milliseconds behind.
    pub replica_lag_ms: u64,
    /// Connections of this node to each server.
    pub connections: u32,
}

impl PostgresConfig {
    pub(super) fn settings(&self) -> Option<PostgresSettings> {
        Some(PostgresSettings {
            url: self.url.clone()?,
            replica_url: self.replica_url.clone(),
            replica_lag: Duration::from_millis(self.replica_lag_ms),
            connections: self.connections,
        })
    }
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { url: None, replica_url: None, replica_lag_ms: 2_000, connections: 20 }
    }
}

/// Redis.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`.
    pub url: Option<String>,
    /// Pages of history are kept there for so many seconds; 0 keeps none.
    pub cache_seconds: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: None, cache_seconds: 60 }
    }
}
