"""What python-docx finds in a document: prints its text, paragraph by paragraph and cell by cell. Fails where something lies outside."""

import sys

from docx import Document

path, copy = sys.argv[1:3]
document = Document(path)
for part in document.part.package.iter_parts():
    for relation in part.rels.values():
        if relation.is_external:
            sys.exit(f"{part.partname} refers to {relation.target_ref}")
document.save(copy)
again = Document(copy)
if len(again.paragraphs) != len(document.paragraphs) or len(again.tables) != len(document.tables):
    sys.exit("the document is another one when it is saved and read again")
for paragraph in again.paragraphs:
    print(paragraph.text)
for table in again.tables:
    for row in table.rows:
        for cell in row.cells:
            print(cell.text)
