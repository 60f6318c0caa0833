// What files are called and which picture they have, by media type.

const OFFICE = 'application/vnd.openxmlformats-officedocument'
const OPEN = 'application/vnd.oasis.opendocument'

const KINDS = {
  'application/pdf': ['PDF document', 'document'],
  'application/rtf': ['Rich text', 'document'],
  'application/msword': ['Word document', 'document'],
  [`${OFFICE}.wordprocessingml.document`]: ['Word document', 'document'],
  [`${OPEN}.text`]: ['OpenDocument text', 'document'],
  'application/epub+zip': ['E-book', 'document'],
  'application/vnd.ms-excel': ['Excel spreadsheet', 'sheet'],
  [`${OFFICE}.spreadsheetml.sheet`]: ['Excel spreadsheet', 'sheet'],
  [`${OPEN}.spreadsheet`]: ['OpenDocument spreadsheet', 'sheet'],
  'text/csv': ['CSV table', 'sheet'],
  'text/tab-separated-values': ['Table', 'sheet'],
  'application/vnd.ms-powerpoint': ['PowerPoint presentation', 'slides'],
  [`${OFFICE}.presentationml.presentation`]: ['PowerPoint presentation', 'slides'],
  [`${OPEN}.presentation`]: ['OpenDocument presentation', 'slides'],
  'application/zip': ['ZIP archive', 'archive'],
  'application/gzip': ['Gzip archive', 'archive'],
  'application/x-gzip': ['Gzip archive', 'archive'],
  'application/x-tar': ['Tar archive', 'archive'],
  'application/x-7z-compressed': ['7-Zip archive', 'archive'],
  'application/vnd.rar': ['RAR archive', 'archive'],
  'application/x-bzip2': ['Bzip2 archive', 'archive'],
  'text/plain': ['Text', 'document'],
  'text/markdown': ['Markdown text', 'document'],
  'text/html': ['Web page', 'code'],
  'text/css': ['Style sheet', 'code'],
  'text/javascript': ['JavaScript', 'code'],
  'text/x-python': ['Python script', 'code'],
  'application/json': ['JSON', 'code'],
  'application/xml': ['XML', 'code'],
  'text/xml': ['XML', 'code'],
  'image/jpeg': ['JPEG image', 'image'],
  'image/svg+xml': ['SVG image', 'image'],
  'image/x-icon': ['Icon', 'image'],
  'audio/mpeg': ['MP3 audio', 'audio'],
  'audio/x-m4a': ['M4A audio', 'audio'],
  'audio/mp4': ['M4A audio', 'audio'],
  'audio/x-wav': ['WAV audio', 'audio'],
  'video/quicktime': ['QuickTime video', 'video'],
  'video/x-matroska': ['Matroska video', 'video'],
  'video/x-msvideo': ['AVI video', 'video'],
}

const FAMILIES = { image: 'image', audio: 'audio', video: 'video' }

// Return the words for a media type, and the name of its picture.
export function kindOf(type) {
  const given = type.split(';')[0].trim().toLowerCase()
  if (Object.hasOwn(KINDS, given)) return KINDS[given]
  const [family, name = ''] = given.split('/')
  const plain = name.replace(/^x-|^vnd\..*$|\+.*$/g, '')
  const words = plain ? `${plain.toUpperCase()} ` : ''
  if (Object.hasOwn(FAMILIES, family)) return [words + family, FAMILIES[family]]
  return family === 'text' ? [`${words}text`, 'document'] : ['File', 'other']
}
