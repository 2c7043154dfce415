import pytest

from realm_tf.serving.service.service_metrics import ServiceMetrics


def test_stages_are_timed_even_if_they_fail():
    metrics = ServiceMetrics()
    with pytest.raises(KeyError), metrics.timed("read"):
        raise KeyError
    lines = metrics.exposition().decode().splitlines()
    assert 'realm_stage_seconds_count{stage="read"} 1.0' in lines


def test_two_services_count_apart():
    first, second = ServiceMetrics(), ServiceMetrics()
    first.errors.labels("index").inc()
    assert b'kind="index"' in first.exposition()
    assert b'kind="index"' not in second.exposition()
