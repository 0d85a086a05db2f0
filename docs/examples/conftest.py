import pytest

from shop import app as shop


@pytest.fixture
def app():
    shop.config.update(TESTING=True)
    return shop
