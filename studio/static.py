"""How static files are stored: under names that carry their hash, in modules that import one another too."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStatic(CompressedManifestStaticFilesStorage):
    """WhiteNoise's manifest storage, which also rewrites `import … from "./x.js"`."""

    support_js_module_import_aggregation = True
