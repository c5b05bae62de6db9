"""The asset API for a WSGI server: ``gunicorn 'asset_forge.wsgi:app'``."""

from __future__ import annotations

import logging
import os

from asset_forge.api import create_app
from asset_forge.settings import LOG_FORMAT, ApiSettings

settings = ApiSettings.from_env(os.environ)
logging.basicConfig(level=settings.log_level, format=LOG_FORMAT)
app = create_app(settings)
