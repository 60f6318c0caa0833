// The page. Adding, uploading and listing files are separate modules.

import { acceptFiles } from './adding.js'
import { byId } from './elements.js'
import { SERVER } from './service.js'
import { noteUploaded, showStored } from './stored.js'
import { keepThroughReloads } from './uploader.js'
import { showUploads } from './uploads.js'

document.documentElement.classList.add('scripted')
byId('route').textContent = SERVER
  ? `Uploads go directly from your browser to the S3 server at ${new URL(SERVER).host}.`
  : 'Uploads go to this application, which stores them in a directory.'

acceptFiles()
showUploads(noteUploaded)
showStored()
keepThroughReloads()
