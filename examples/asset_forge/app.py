"""Run the asset API with Flask's own server: ``python app.py``."""

from __future__ import annotations

from asset_forge.wsgi import app, settings

if __name__ == "__main__":
    app.run(host=settings.host, port=settings.port, threaded=True)
