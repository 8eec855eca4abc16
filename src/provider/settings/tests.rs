//! The defaults that depend on backend and trust.

use super::*;

#[test]
fn trust_decides_the_timeouts_that_are_not_set() {
    let local = ProviderSettings::default();
    assert_eq!(local.trust(), Trust::Local);
    assert_eq!((local.first_event().as_secs(), local.idle().as_secs()), (300, 120));
    let cloud = ProviderSettings { trust: Some(Trust::Cloud), ..local };
    assert_eq!((cloud.first_event().as_secs(), cloud.idle().as_secs()), (60, 60));
}

#[test]
fn no_step_may_take_longer_than_the_total() {
    let timeouts = Timeouts { total: Duration::from_secs(4), ..Timeouts::default() };
    let settings = ProviderSettings { timeouts, ..ProviderSettings::default() };
    let steps = [settings.connect(), settings.first_event(), settings.idle()];
    assert_eq!(steps.map(|step| step.as_secs()), [4, 4, 4]);
}

#[test]
fn the_backend_decides_address_model_and_trust() {
    for backend in BackendName::ALL {
        let settings = ProviderSettings { backend, ..ProviderSettings::default() }.resolved();
        assert_eq!(settings.base_url, backend.base_url());
        assert_eq!(settings.default_model, backend.default_model());
        assert_eq!(settings.trust, Some(backend.trust()));
        assert_eq!(settings.clone().resolved(), settings);
    }
}
