"""Whether a signature can be validated from its file alone, as pyHanko sees it: revocation data for every certificate is
demanded, and what is not in the file is not fetched. Arguments: the file, then the roots to trust (PEM)."""

import sys

from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.dss import DocumentSecurityStore

path, *roots = sys.argv[1:]
with open(path, "rb") as file:
    reader = PdfFileReader(file)
    [signature] = reader.embedded_signatures
    store = DocumentSecurityStore.read_dss(reader)
    print(f"{len(store.certs)} certificates, {len(store.ocsps)} responses, {len(store.crls)} lists")
    context = store.as_validation_context({
        "trust_roots": [load_cert_from_pemder(root) for root in roots],
        "allow_fetching": False,
        "revocation_mode": "require",
    })
    status = validate_pdf_signature(signature, context, ts_validation_context=context)
    print(status.pretty_print_details())
