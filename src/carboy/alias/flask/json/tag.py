"""`flask.json.tag`."""

from ....wire.tagged import JSONTag as JSONTag
from ....wire.tagged import PassDict as PassDict
from ....wire.tagged import PassList as PassList
from ....wire.tagged import TagBytes as TagBytes
from ....wire.tagged import TagDateTime as TagDateTime
from ....wire.tagged import TagDict as TagDict
from ....wire.tagged import TaggedJSONSerializer as TaggedJSONSerializer
from ....wire.tagged import TagMarkup as TagMarkup
from ....wire.tagged import TagTuple as TagTuple
from ....wire.tagged import TagUUID as TagUUID
