// The page. Adding, uploading and listing files are separate modules.

import { acceptFiles } from './adding.js'
import { keepThroughReloads } from './queue.js'
import { noteUploaded, showStored } from './stored.js'
import { showUploads } from './uploads.js'

document.documentElement.classList.add('scripted')

acceptFiles()
showUploads(noteUploaded)
showStored()
keepThroughReloads()
