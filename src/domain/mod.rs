//! What a thin-jail host consists of, and the actions that change it.

pub mod base_version;
pub mod configured;
pub mod container;
pub mod devfs;
pub mod epair;
pub mod fstab;
pub mod host_network;
pub mod identity;
pub mod inventory;
pub mod jail_archive;
pub mod jail_view;
pub mod layout;
pub mod layout_places;
pub mod leftovers;
pub mod links;
pub mod new_jail;
pub mod origin;
pub mod owner_lock;
pub mod rc_conf;
pub mod rc_jail_list;
pub mod service;
pub mod settings;
pub mod template;
